//! Where a process really listens, whoever told it to.

use std::{
    collections::HashSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// A socket that listens, in the kernel's tables.
const LISTEN: &str = "0A";

/// The addresses at which process `pid` accepts connections.
///
/// # Errors
/// When this user may not look, or there is no such process.
pub(super) fn listening(pid: u32) -> io::Result<Vec<SocketAddr>> {
    let mut sockets = HashSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // Files come and go meanwhile.
        let Ok(link) = fs::read_link(entry?.path()) else {
            continue;
        };
        let link = link.to_string_lossy().into_owned();
        let inode = link.strip_prefix("socket:[");
        sockets.extend(
            inode
                .and_then(|inode| inode.strip_suffix(']'))
                .map(str::to_owned),
        );
    }
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        // A machine without IPv6 has no table of it.
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        let own = text.lines().filter_map(read);
        let own = own.filter(|(_, inode)| sockets.contains(*inode));
        found.extend(own.map(|(address, _)| address));
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// A line of a socket that listens: its address and its inode.
fn read(line: &str) -> Option<(SocketAddr, &str)> {
    let words: Vec<_> = line.split_whitespace().collect();
    let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
    if *state != LISTEN {
        return None;
    }
    let (ip, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((SocketAddr::new(address(ip)?, port), inode))
}

/// Words of 32 bits, each as the machine has it in memory.
fn address(hex: &str) -> Option<IpAddr> {
    let words = hex.as_bytes().chunks(8).map(|word| {
        let word = std::str::from_utf8(word).ok()?;
        u32::from_str_radix(word, 16).ok().map(u32::to_ne_bytes)
    });
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes)
            .ok()
            .map(|bytes| Ipv4Addr::from(bytes).into()),
        16 => <[u8; 16]>::try_from(bytes)
            .ok()
            .map(|bytes| Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_process_is_found_where_it_listens() {
        let four = TcpListener::bind("127.0.0.1:0").expect("a port");
        let every = TcpListener::bind("0.0.0.0:0").expect("a port");
        let found = listening(std::process::id()).expect("one's own");
        for socket in [&four, &every] {
            let address = socket.local_addr().expect("an address");
            assert!(found.contains(&address), "{address} is not in {found:?}");
        }
        assert!(listening(u32::MAX).is_err());
    }
}
