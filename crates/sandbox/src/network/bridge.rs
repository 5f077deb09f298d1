//! The bridge, its ports and the rules of what may pass.

use std::{
    fmt::Write as _,
    fs, io,
    net::Ipv4Addr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{NetworkConfig, program};
use crate::SandboxError;

/// Of the locally administered kind. Set, since a bridge would else take on that of its ports one
/// after the other. No two bridges share a wire.
const ADDRESS: &str = "02:68:6f:62:00:01";

/// How long two links may take to be joined, on a machine that is busy with other things.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);
const JOIN_POLL: Duration = Duration::from_millis(1);

/// Of the namespace of this thread, as are all below `thread-self` and `/proc/sys/net`.
const ROUTES: &str = "/proc/thread-self/net/route";
const LINKS: &str = "/proc/thread-self/net/dev";
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Makes the bridge and its rules.
pub(super) fn make(config: &NetworkConfig) -> Result<(), SandboxError> {
    // Before the bridge is there, since it would be left alone and unguarded.
    program::need_nft()?;
    check_routes(config)?;
    let NetworkConfig { bridge, subnet, .. } = config;
    // Without the links' own IPv6 addresses, by which they would be there before any rule.
    let batch = format!(
        "link add {bridge} address {ADDRESS} type bridge\n\
         link set {bridge} addrgenmode none\n\
         address add {}/{} dev {bridge}\n",
        subnet.gateway(),
        subnet.prefix()
    );
    program::ip(&batch)?;
    let guarded = program::nft(&rules(config)).and_then(|()| {
        switch_on_forwarding().map_err(SandboxError::io("cannot switch on", FORWARD))?;
        program::ip(&format!("link set {bridge} up\n"))
    });
    guarded.inspect_err(|_| {
        // The first error is the one to tell.
        let _ = remove(bridge);
    })
}

/// Gives the bridge of an earlier daemon the rules of now.
pub(super) fn renew(config: &NetworkConfig) -> Result<(), SandboxError> {
    program::need_nft()?;
    program::nft(&rules(config))?;
    switch_on_forwarding().map_err(SandboxError::io("cannot switch on", FORWARD))
}

/// Where it is on already, it need not be writable.
fn switch_on_forwarding() -> io::Result<()> {
    match fs::read_to_string(FORWARD)?.trim() {
        "1" => Ok(()),
        _ => fs::write(FORWARD, "1"),
    }
}

/// Removes the rules and the bridge, in this order: so rules are never left without a bridge.
pub(super) fn remove(bridge: &str) -> Result<(), SandboxError> {
    // Adding first, since deleting what is not there is an error.
    program::nft(&format!(
        "table inet {bridge}\ndelete table inet {bridge}\n"
    ))?;
    program::ip(&format!("link delete {bridge}\n"))
}

/// Joins a namespace to the bridge.
pub(super) fn plug(config: &NetworkConfig, link: &str, file: &Path) -> Result<(), SandboxError> {
    let (bridge, file) = (&config.bridge, file.display());
    program::ip(&format!(
        "link add {link} type veth peer name eth0 netns \"{file}\"\n\
         link set {link} addrgenmode none master {bridge}\n\
         link set {link} type bridge_slave isolated on\n\
         link set {link} up\n"
    ))
}

/// Sets up a namespace from inside.
pub(super) fn settle(
    config: &NetworkConfig,
    address: Option<Ipv4Addr>,
) -> Result<(), SandboxError> {
    let mut batch = String::from("link set lo up\n");
    if let Some(address) = address {
        let (prefix, gateway) = (config.subnet.prefix(), config.subnet.gateway());
        // Writing to a String cannot fail.
        let _ = write!(
            batch,
            "link set eth0 addrgenmode none\n\
             address add {address}/{prefix} dev eth0\n\
             link set eth0 up\n\
             route add default via {gateway}\n"
        );
    }
    program::ip(&batch)?;
    address.map_or(Ok(()), |_| wait_for_own_link())
}

/// Waits until what is sent by a namespace's link arrives. The kernel joins links in the
/// background; a first packet that comes too early is lost, and the second takes a second.
pub(super) fn wait_for_port(config: &NetworkConfig, link: &str) -> Result<(), SandboxError> {
    // The bridge itself comes up with its first port, and after it.
    wait_until(&[&config.bridge, link])
}

/// The same for the other end, from inside.
fn wait_for_own_link() -> Result<(), SandboxError> {
    wait_until(&["eth0"])
}

fn wait_until(links: &[&str]) -> Result<(), SandboxError> {
    // A port tells two states.
    let ready = |link: &str| {
        let port = link.contains("bridge_slave");
        link.contains(" state UP ") && (!port || link.contains(" state forwarding "))
    };
    let deadline = Instant::now() + JOIN_TIMEOUT;
    while !program::ip_show(links)?.lines().all(ready) {
        if Instant::now() > deadline {
            return Err(SandboxError::Network(format!(
                "the link `{}` did not come up within {} s",
                links.join("` or `"),
                JOIN_TIMEOUT.as_secs()
            )));
        }
        thread::sleep(JOIN_POLL);
    }
    Ok(())
}

/// Names of the links that there are.
pub(super) fn links() -> Result<Vec<String>, SandboxError> {
    let text = fs::read_to_string(LINKS).map_err(SandboxError::io("cannot read", LINKS))?;
    let names = text.lines().filter_map(|line| line.split_once(':'));
    Ok(names.map(|(name, _)| name.trim().to_owned()).collect())
}

fn check_routes(config: &NetworkConfig) -> Result<(), SandboxError> {
    let text = fs::read_to_string(ROUTES).map_err(SandboxError::io("cannot read", ROUTES))?;
    let subnet = config.subnet;
    let taken =
        routes(&text).find(|route| route.mask != 0 && subnet.overlaps(route.network, route.mask));
    match taken {
        Some(route) => Err(SandboxError::Network(format!(
            "subnet {subnet} overlaps the route {}/{} of `{}`: set another `subnet` for functions",
            Ipv4Addr::from(route.network),
            route.mask.leading_ones(),
            route.link
        ))),
        None => Ok(()),
    }
}

struct Route<'a> {
    link: &'a str,
    network: u32,
    mask: u32,
}

/// The kernel writes addresses as numbers whose bytes in memory are in the network's order.
fn routes(text: &str) -> impl Iterator<Item = Route<'_>> {
    let number = |word: &str| u32::from_str_radix(word, 16).ok().map(u32::from_be);
    text.lines().skip(1).filter_map(move |line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Some(Route {
            link: words.first()?,
            network: number(words.get(1)?)?,
            mask: number(words.get(7)?)?,
        })
    })
}

/// All rules at once, in place of those that may be there. What these drop is dropped; what they
/// accept, the tables of others may still drop, as Docker's do with all that is forwarded.
fn rules(config: &NetworkConfig) -> String {
    let NetworkConfig { bridge, subnet, .. } = config;
    let gateway = subnet.gateway();
    let ports: Vec<String> = config.gateway_ports.iter().map(u16::to_string).collect();
    let open = match ports.is_empty() {
        true => String::new(),
        false => format!(
            "iifname {bridge} ip daddr {gateway} tcp dport {{ {} }} accept",
            ports.join(", ")
        ),
    };
    format!(
        "table inet {bridge}
delete table inet {bridge}
table inet {bridge} {{
    # Functions to the machine: the gateway only.
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname {bridge} ct state established,related accept
        {open}
        iifname {bridge} drop
        iifname != {{ lo, {bridge} }} ip daddr {gateway} drop
    }}
    # The machine's users to functions: nobody, since the gateway has another way in.
    chain output {{
        type filter hook output priority filter; policy accept;
        oifname {bridge} ct state established,related accept
        oifname {bridge} drop
    }}
    # Functions to the world, and its answers.
    chain forward {{
        type filter hook forward priority filter; policy accept;
        iifname {bridge} oifname {bridge} drop
        iifname {bridge} ip saddr != {subnet} drop
        iifname {bridge} meta nfproto ipv6 drop
        oifname {bridge} ct state established,related accept
        oifname {bridge} drop
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {subnet} oifname != {bridge} masquerade
    }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_table_of_routes_is_understood() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\n\
            eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\n\
            hob0\t00003E0A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\n";
        let found: Vec<(String, u32)> = routes(text)
            .map(|route| {
                (
                    Ipv4Addr::from(route.network).to_string(),
                    route.mask.leading_ones(),
                )
            })
            .collect();
        let expected = [("0.0.0.0".to_owned(), 0), ("10.62.0.0".to_owned(), 16)];
        assert_eq!(found, expected);
    }

    #[test]
    fn without_ports_of_the_gateway_none_is_open() {
        let mut config = NetworkConfig::new("/nowhere");
        assert!(!rules(&config).contains("dport"));
        config.gateway_ports = vec![80, 8080];
        let open = "iifname hob0 ip daddr 10.62.0.1 tcp dport { 80, 8080 } accept";
        assert!(rules(&config).contains(open));
    }
}
