//! The send buffer (`SO_SNDBUF`): how much of a write it takes, and when the application is told of room.
//!
//! Linux counts memory, not octets (`sk_wmem_queued`): what a packet holds and what describes it. How the octets lie in
//! packets is worked out anew each time, as many as [`Socket::size_goal`] or, once sent, what leaves in one piece: an
//! approximation. Without `SO_SNDBUF` the buffer has no limit.

use super::{Socket, TcpConfig};

/// What a packet costs besides its payload, octets: `SKB_TRUESIZE()` of an empty one with a page fragment, on a 64-bit
/// machine (`tcp_stream_alloc_skb()`).
const PACKET_OVERHEAD: u32 = 1280;

impl Socket {
    /// Payload of the packets that a write fills (`tcp_xmit_size_goal()`): whole segments, at most half of the peer's window.
    fn size_goal(&self) -> u32 {
        let mss = u32::from(self.snd_mss);
        let most = self.bound_to_half_window(super::send::GSO_MAX_SIZE);
        (most - most % mss).max(mss)
    }

    fn unsent(&self) -> u32 {
        self.write_end.distance_from(self.snd_max).max(0).cast_unsigned()
    }

    /// Memory of what is written and not acknowledged (`sk_wmem_queued`).
    fn memory(&self, config: &TcpConfig) -> u32 {
        let octets = self.write_end.distance_from(self.snd_una).max(0).cast_unsigned();
        let unsent = self.unsent();
        let in_one_piece = (self.gso_limit(config) * u32::from(self.snd_mss)).max(1);
        let packets = (octets - unsent).div_ceil(in_one_piece) + unsent.div_ceil(self.size_goal());
        octets.saturating_add(packets.saturating_mul(PACKET_OVERHEAD))
    }

    /// How much of a write of `len` octets goes into the packet that is being filled, or into a new one if there is memory
    /// for it (`tcp_sendmsg_locked()`, `sk_stream_memory_free()`).
    pub(super) fn room_for(&self, len: u32, config: &TcpConfig) -> u32 {
        let limit = self.options().send_buffer;
        if limit == 0 {
            return len;
        }
        let (goal, tail) = (self.size_goal(), self.unsent() % self.size_goal());
        if tail > 0 {
            len.min(goal - tail)
        } else if self.memory(config) < limit {
            len.min(goal)
        } else {
            0
        }
    }

    /// A third of the buffer is free: who waits for room is woken (`sk_stream_is_writeable()`).
    pub(super) fn has_room(&self, config: &TcpConfig) -> bool {
        let limit = self.options().send_buffer;
        let memory = self.memory(config);
        limit == 0 || limit.saturating_sub(memory) >= memory / 2
    }
}
