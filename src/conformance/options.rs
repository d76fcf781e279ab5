//! The `--name=value` lines of a script, and what the suites' own runners add to them.

use std::net::Ipv4Addr;

use super::Problem;
use super::ast::{Script, ScriptOption};
use super::calls::Addresses;
use crate::units::SimDuration;

/// How a script is run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunOptions {
    /// Addresses and ports.
    pub addresses: Addresses,
    /// How far an event may be off.
    pub tolerance: SimDuration,
    /// As a share of the time since the event before, if that is more.
    pub tolerance_share: f64,
    /// One outbound segment of the script is one of the kernel; otherwise neighbours are put together.
    pub strict_segments: bool,
    /// Length of a tick of the script's timestamps; `None`: their values are not compared.
    pub timestamp_tick: Option<SimDuration>,
    /// A timestamp echo that was never sent is worked out from the first one.
    pub timestamp_echo_scaled: bool,
}

impl RunOptions {
    /// packetdrill's defaults (`config.c`).
    pub const DEFAULT: Self = Self {
        addresses: Addresses {
            local: Ipv4Addr::new(192, 168, 0, 1),
            remote: Ipv4Addr::new(192, 0, 2, 1),
            bind_port: 8080,
            connect_port: 8080,
        },
        tolerance: SimDuration::from_micros(4_000),
        tolerance_share: 0.125,
        strict_segments: false,
        timestamp_tick: None,
        timestamp_echo_scaled: false,
    };

    /// The options of a script.
    ///
    /// # Errors
    /// An option that is not known, or the wrong value for one.
    pub fn of(script: &Script) -> Result<Self, Problem> {
        let mut options = Self::DEFAULT;
        let library = script.init.as_ref().map_or("", |init| init.text.as_str());
        if let Some((_, tolerance)) = SUITES.iter().find(|(name, _)| library.contains(name)) {
            options.tolerance = *tolerance;
        }
        for option in &script.options {
            options.set(option)?;
        }
        Ok(options)
    }

    fn set(&mut self, option: &ScriptOption) -> Result<(), Problem> {
        let value = option.value.as_deref().unwrap_or_default();
        let wrong = |expected: &str| {
            Problem::fail(
                option.line,
                format!("--{}={expected}", option.name),
                format!("{value:?}"),
            )
        };
        let micros = || {
            let micros: u32 = value.parse().map_err(|_| wrong("MICROSECONDS"))?;
            Ok(SimDuration::from_micros(u64::from(micros)))
        };
        let address = || value.parse().map_err(|_| wrong("IPV4-ADDRESS"));
        let port = || value.parse().map_err(|_| wrong("PORT"));
        match option.name.as_str() {
            "ip_version" if ["ipv4", "ipv4-mapped-ipv6"].contains(&value) => {}
            "tolerance_usecs" => self.tolerance = micros()?,
            "tolerance_percent" => {
                let percent: f64 = value.parse().map_err(|_| wrong("PERCENT"))?;
                self.tolerance_share = percent.clamp(0.0, 1e6) / 100.0;
            }
            "tcp_ts_tick_usecs" => {
                self.timestamp_tick = Some(micros()?).filter(|tick| *tick > SimDuration::ZERO);
            }
            "tcp_ts_ecr_scaled" => self.timestamp_echo_scaled = true,
            "strict_segments" => self.strict_segments = true,
            "local_ip" if !value.contains(':') => self.addresses.local = address()?,
            "remote_ip" if !value.contains(':') => self.addresses.remote = address()?,
            "bind_port" => self.addresses.bind_port = port()?,
            "connect_port" => self.addresses.connect_port = port()?,
            // There is one link, and nothing is routed. `mss` is how a big segment to the kernel is cut (GRO): not at all here.
            "gateway_ip" | "netmask_ip" | "speed" | "verbose" | "debug" | "mss" => {}
            "mtu" if value == "1500" => {}
            _ => {
                let value = option
                    .value
                    .as_ref()
                    .map_or(String::new(), |value| format!("={value}"));
                return Err(Problem::skip(
                    option.line,
                    format!("option --{}{value}", option.name),
                ));
            }
        }
        Ok(())
    }
}

/// The tolerance that the suites' own runners pass, by the shell library that their scripts load: the netfilter
/// selftests' (`nf_conntrack_packetdrill.sh`).
const SUITES: &[(&str, SimDuration)] = &[("packetdrill/common.sh", SimDuration::from_secs(1))];
