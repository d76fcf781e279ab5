//! Symbols of system calls and their values, as in Linux' user-space headers (`include/uapi/asm-generic`,
//! `include/uapi/linux/{in,tcp,socket}.h`), and the value of an argument.

use super::ast::Expr;

/// Names and values.
#[rustfmt::skip]
const SYMBOLS: &[(&str, i64)] = &[
    ("EPERM", 1), ("EINTR", 4), ("EBADF", 9), ("EAGAIN", 11), ("EWOULDBLOCK", 11), ("EFAULT", 14), ("EINVAL", 22), ("ENONET", 64), ("EPROTO", 71),
    ("EPIPE", 32), ("EDESTADDRREQ", 89), ("EMSGSIZE", 90), ("ENOPROTOOPT", 92), ("EOPNOTSUPP", 95),
    ("EADDRINUSE", 98), ("EADDRNOTAVAIL", 99), ("ENETUNREACH", 101), ("ECONNABORTED", 103), ("ECONNRESET", 104),
    ("ENOBUFS", 105), ("EISCONN", 106), ("ENOTCONN", 107), ("ETIMEDOUT", 110), ("ECONNREFUSED", 111),
    ("EHOSTDOWN", 112), ("EHOSTUNREACH", 113), ("EALREADY", 114), ("EINPROGRESS", 115),
    ("AF_UNSPEC", 0), ("AF_INET", 2), ("PF_INET", 2), ("AF_INET6", 10), ("SOCK_STREAM", 1), ("SOCK_DGRAM", 2),
    ("SOCK_RAW", 3), ("SOCK_NONBLOCK", O_NONBLOCK), ("SOCK_CLOEXEC", 0o2_000_000),
    ("IPPROTO_IP", 0), ("IPPROTO_TCP", 6), ("IPPROTO_UDP", 17), ("IPPROTO_MPTCP", 262),
    ("F_GETFL", 3), ("F_SETFL", 4), ("O_RDONLY", 0), ("O_WRONLY", 1), ("O_RDWR", 2), ("O_NONBLOCK", O_NONBLOCK),
    ("SHUT_RD", 0), ("SHUT_WR", 1), ("SHUT_RDWR", 2),
    ("SOL_IP", 0), ("SOL_SOCKET", 1), ("SOL_TCP", 6),
    ("SO_REUSEADDR", 2), ("SO_ERROR", 4), ("SO_SNDBUF", 7), ("SO_RCVBUF", 8), ("SO_KEEPALIVE", 9), ("SO_LINGER", 13),
    ("SO_REUSEPORT", 15), ("SO_ZEROCOPY", 60),
    ("TCP_NODELAY", 1), ("TCP_MAXSEG", 2), ("TCP_CORK", 3), ("TCP_SYNCNT", 7), ("TCP_LINGER2", 8),
    ("TCP_DEFER_ACCEPT", 9), ("TCP_USER_TIMEOUT", 18), ("TCP_INQ", 36),
    ("MSG_PEEK", 2), ("MSG_DONTWAIT", MSG_DONTWAIT), ("MSG_NOSIGNAL", MSG_NOSIGNAL), ("MSG_MORE", MSG_MORE), ("MSG_EOR", MSG_EOR), ("MSG_WAITALL", 0x100),
    ("SIOCINQ", 0x541b), ("FIONREAD", 0x541b), ("SIOCOUTQ", 0x5411), ("SIOCOUTQNSD", 0x894b),
    ("POLLIN", 1), ("POLLPRI", 2), ("POLLOUT", 4), ("POLLERR", 8), ("POLLHUP", 16), ("POLLRDNORM", 64),
    ("POLLWRNORM", 256), ("POLLRDHUP", 0x2000),
    ("NULL", 0),
];

/// `O_NONBLOCK`.
pub const O_NONBLOCK: i64 = 0o4_000;
/// `MSG_DONTWAIT`.
pub const MSG_DONTWAIT: i64 = 0x40;
/// `MSG_EOR`.
pub const MSG_EOR: i64 = 0x80;
/// `MSG_MORE`.
pub const MSG_MORE: i64 = 0x8000;
/// `MSG_NOSIGNAL`.
pub const MSG_NOSIGNAL: i64 = 0x4000;

/// The value of a symbol.
pub fn value(name: &str) -> Option<i64> {
    SYMBOLS
        .iter()
        .find(|(symbol, _)| *symbol == name)
        .map(|(_, value)| *value)
}

/// Names of an errno.
pub fn errno_name(number: i64) -> String {
    SYMBOLS
        .iter()
        .find(|(symbol, value)| symbol.starts_with('E') && *value == number)
        .map_or_else(|| format!("errno {number}"), |(symbol, _)| (*symbol).to_owned())
}

/// The value of an argument; `Err` names what is not known.
pub fn evaluate(expr: &Expr) -> Result<i64, String> {
    match expr {
        Expr::Integer(value) => Ok(*value),
        Expr::Word(name) => value(name).ok_or_else(|| format!("symbol {name}")),
        Expr::Or(left, right) => Ok(evaluate(left)? | evaluate(right)?),
        other => Err(format!("argument {other} where a number is needed")),
    }
}
