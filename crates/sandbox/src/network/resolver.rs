use std::{fs, net::IpAddr};

/// Where systemd's resolver keeps the servers that it asks itself.
const BEHIND_SYSTEMD: &str = "/run/systemd/resolve/resolv.conf";

/// An `/etc/resolv.conf` for a cage with a network of its own: the host's, unless all its servers
/// are on the host's loopback interface, which is out of reach in there. Then it is that of
/// systemd's resolver, where there is one.
pub fn resolver() -> String {
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let behind = || fs::read_to_string(BEHIND_SYSTEMD).ok();
    choose(host, behind)
}

fn choose(host: String, behind: impl FnOnce() -> Option<String>) -> String {
    let reachable = |text: &String| servers(text).any(|server| !server.is_loopback());
    if reachable(&host) {
        return host;
    }
    behind().filter(reachable).unwrap_or(host)
}

fn servers(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver");
        let address = address.and_then(|_| words.next())?;
        // A zone, as in `fe80::1%eth0`, does not matter here.
        address.split('%').next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_on_the_loopback_interface_are_replaced() {
        let chosen =
            |host: &str, behind: Option<&str>| choose(host.into(), || behind.map(str::to_owned));
        let stub = "# stub\nnameserver 127.0.0.53\noptions edns0\n";
        let real = "nameserver 192.0.2.1\nsearch home\n";
        assert_eq!(chosen(real, Some("nameserver 192.0.2.9\n")), real);
        assert_eq!(chosen(stub, Some(real)), real);
        assert_eq!(chosen(stub, Some(stub)), stub);
        assert_eq!(chosen(stub, None), stub);
        assert_eq!(
            chosen("nameserver fe80::1%eth0\n", Some(real)),
            "nameserver fe80::1%eth0\n"
        );
        assert_eq!(chosen("", Some(real)), real);
    }
}
