//! Whose a port of the machine's loopback interface is.

use std::{fs, num::ParseIntError};

/// The kernel's tables of TCP sockets, proc_net_tcp(5).
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];
/// State of a socket that listens.
const LISTENS: &str = "0A";

/// Whether a user other than `uid` listens at `port`, and he does not: nothing holds a port for a
/// program until it listens there, and somebody else may have been sooner. Blocks for a moment.
pub(super) fn is_somebody_elses(port: u16, uid: u32) -> bool {
    let tables = TABLES
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok());
    let owners: Vec<u32> = tables.flat_map(|table| owners(&table, port)).collect();
    // Where the kernel does not tell, it is taken on trust.
    !owners.is_empty() && !owners.contains(&uid)
}

/// Who listens at `port`, by one of the tables.
fn owners(table: &str, port: u16) -> Vec<u32> {
    let lines = table.lines().skip(1);
    let owner = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (_, number) = fields.next()?.rsplit_once(':')?;
        let is_there = hex(number).is_ok_and(|number| number == port);
        // Behind the other side's address stands the state; queues, timer and retransmissions are
        // before the user.
        let state = fields.nth(1)?;
        let uid = fields.nth(3)?.parse().ok()?;
        (is_there && state == LISTENS).then_some(uid)
    };
    lines.filter_map(owner).collect()
}

fn hex(text: &str) -> Result<u16, ParseIntError> {
    u16::from_str_radix(text, 16)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_known_by_its_user() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = rustix::process::geteuid().as_raw();
        assert!(!is_somebody_elses(port, own));
        assert!(is_somebody_elses(port, own + 1));
        drop(listener);
        assert!(!is_somebody_elses(port, own + 1), "nobody's");
    }

    #[test]
    fn only_those_who_listen_count() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 2 1 0 20 4 30 10 -1
   2: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65534        0 3 1 0 100 0 0 10 0
";
        assert_eq!(owners(table, 8080), [0]);
        assert_eq!(owners(table, 8081), [65534]);
        assert!(owners(table, 1).is_empty() && owners("", 8080).is_empty());
    }
}
