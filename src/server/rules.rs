//! Rules about who may connect, as in Postgres' `pg_hba.conf`: the first that fits decides, and none refuses.
//!
//! Without rules, whoever comes from this machine is asked for a password once any role has one, and before that
//! for nothing; whoever comes from another machine is asked for a password, over TLS only.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::catalog::roles::Roles;

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The connections that it is about.
    pub over: Over,
    /// The addresses that it is about.
    pub address: Addresses,
    /// The databases, as clients name them; every one where there is none.
    pub databases: Vec<String>,
    /// The users, `+group` for the members of a role; every one where there is none.
    pub users: Vec<String>,
    /// What it asks for.
    pub method: Method,
}

/// How a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// `host`: either way
    Any,
    /// `hostssl`: over TLS
    Tls,
    /// `hostnossl`: without TLS
    Plain,
}

/// What a client is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Nothing.
    Trust,
    /// It is refused.
    Reject,
    /// The password, by SCRAM-SHA-256.
    Scram,
    /// A certificate whose common name is the user's.
    Certificate,
}

/// A set of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// `all`
    All,
    /// `loopback`: this machine's own
    Loopback,
    /// `10.0.0.0/8`, `2001:db8::/32`, `10.1.2.3`
    Net {
        /// An address of the net.
        address: IpAddr,
        /// How many bits of it are the net's.
        bits: u8,
    },
}

/// Somebody who wants to connect.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who they say they are.
    pub user: String,
    /// The database that they name.
    pub database: String,
    /// Where they come from.
    pub address: IpAddr,
    /// Whether over TLS.
    pub tls: bool,
}

/// What the caller is asked for; nothing where no rule fits.
pub fn decide(rules: Option<&[Rule]>, caller: &Caller, roles: &Roles) -> Option<Method> {
    let Some(rules) = rules else {
        return match caller.address.is_loopback() {
            true if roles.is_open() => Some(Method::Trust),
            loopback => (loopback || caller.tls).then_some(Method::Scram),
        };
    };
    let rule = rules.iter().find(|rule| rule.fits(caller, roles));
    rule.map(|rule| rule.method)
}

impl Rule {
    fn fits(&self, caller: &Caller, roles: &Roles) -> bool {
        let over = match self.over {
            Over::Any => true,
            Over::Tls => caller.tls,
            Over::Plain => !caller.tls,
        };
        let user = |named: &String| match named.strip_prefix('+') {
            Some(group) => {
                roles.find(&caller.user).is_some() && roles.is_member(&caller.user, group)
            }
            None => *named == caller.user,
        };
        over && self.address.contain(caller.address)
            && (self.databases.is_empty() || self.databases.contains(&caller.database))
            && (self.users.is_empty() || self.users.iter().any(user))
    }
}

impl Addresses {
    fn contain(&self, other: IpAddr) -> bool {
        match self {
            Addresses::All => true,
            Addresses::Loopback => other.is_loopback(),
            Addresses::Net { address, bits } => match (address, other) {
                (IpAddr::V4(net), IpAddr::V4(other)) => {
                    same_start(net.to_bits().into(), other.to_bits().into(), 32, *bits)
                }
                (IpAddr::V6(net), IpAddr::V6(other)) => {
                    same_start(net.to_bits(), other.to_bits(), 128, *bits)
                }
                _ => false,
            },
        }
    }
}

fn same_start(one: u128, other: u128, width: u8, bits: u8) -> bool {
    let rest = u32::from(width - bits.min(width));
    (one ^ other).checked_shr(rest).unwrap_or(0) == 0
}

/// The text is no set of addresses.
#[derive(Debug, PartialEq, Eq)]
pub struct NoAddresses;

impl FromStr for Addresses {
    type Err = NoAddresses;

    fn from_str(text: &str) -> Result<Self, NoAddresses> {
        match text {
            "all" => return Ok(Addresses::All),
            "loopback" => return Ok(Addresses::Loopback),
            _ => {}
        }
        let (address, bits) = text
            .split_once('/')
            .map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| NoAddresses)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = bits.map_or(Ok(width), |bits| bits.parse().map_err(|_| NoAddresses))?;
        if bits > width {
            return Err(NoAddresses);
        }
        Ok(Addresses::Net { address, bits })
    }
}

impl fmt::Display for Caller {
    /// As Postgres names them where nobody fits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            user,
            database,
            address,
            tls,
        } = self;
        let over = if *tls { "TLS" } else { "no encryption" };
        // Whoever isn't anybody yet writes no lines into the log.
        let plain = |name: &str| name.replace(char::is_control, "?");
        let (user, database) = (plain(user), plain(database));
        write!(
            f,
            "host \"{address}\", user \"{user}\", database \"{database}\", {over}"
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::catalog::roles::{Role, Verifier};

    fn caller(address: &str, user: &str, tls: bool) -> Caller {
        Caller {
            user: user.to_owned(),
            database: "funnelsql".to_owned(),
            address: address.parse().unwrap(),
            tls,
        }
    }

    fn rule(address: &str, users: &[&str], method: Method) -> Rule {
        Rule {
            over: Over::Any,
            address: address.parse().unwrap(),
            databases: Vec::new(),
            users: users.iter().map(|user| (*user).to_owned()).collect(),
            method,
        }
    }

    #[test]
    fn addresses_are_compared_up_to_their_bits() {
        for (net, address, contained) in [
            ("all", "192.0.2.1", true),
            ("loopback", "127.0.0.2", true),
            ("loopback", "::1", true),
            ("loopback", "192.0.2.1", false),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.2", false),
            ("10.1.2.128/25", "10.1.2.127", false),
            ("10.1.2.128/25", "10.1.2.129", true),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            let found = net
                .parse::<Addresses>()
                .unwrap()
                .contain(address.parse().unwrap());
            assert_eq!(found, contained, "{net} {address}");
        }
        for text in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "example.org",
            "10.0.0.0/-1",
            "10.0.0.0/",
        ] {
            assert_eq!(text.parse::<Addresses>(), Err(NoAddresses), "{text}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let folder = tempfile::tempdir().unwrap();
        let roles = Roles::open(folder.path()).unwrap();
        for name in ["sales", "ana"] {
            roles.create(Role::new(name), &[]).unwrap();
        }
        roles
            .grant(&["sales".to_owned()], &["ana".to_owned()])
            .unwrap();
        let mut plain = rule("all", &[], Method::Reject);
        plain.over = Over::Plain;
        let rules = [
            rule("loopback", &["bob"], Method::Trust),
            plain,
            rule("10.0.0.0/8", &["+sales"], Method::Certificate),
            rule("10.0.0.0/8", &[], Method::Scram),
        ];
        let decide = |address, user, tls| decide(Some(&rules), &caller(address, user, tls), &roles);
        assert_eq!(decide("127.0.0.1", "bob", false), Some(Method::Trust));
        assert_eq!(decide("127.0.0.1", "ana", false), Some(Method::Reject));
        assert_eq!(decide("10.0.0.1", "ana", true), Some(Method::Certificate));
        assert_eq!(decide("10.0.0.1", "bob", true), Some(Method::Scram));
        assert_eq!(decide("192.0.2.1", "ana", true), None);
    }

    #[test]
    fn without_rules_this_machine_is_trusted_until_there_is_a_password() {
        let folder = tempfile::tempdir().unwrap();
        let roles = Roles::open(folder.path()).unwrap();
        let ask = |address, tls| decide(None, &caller(address, "ana", tls), &roles);
        assert_eq!(ask("127.0.0.1", false), Some(Method::Trust));
        assert_eq!(ask("192.0.2.1", true), Some(Method::Scram));
        assert_eq!(ask("192.0.2.1", false), None);
        let admin = Role {
            superuser: true,
            login: true,
            verifier: Some(Verifier::of_password("x").unwrap()),
            ..Role::new("admin")
        };
        roles.create(admin, &[]).unwrap();
        assert_eq!(ask("127.0.0.1", false), Some(Method::Scram));
        assert_eq!(ask("192.0.2.1", false), None);
    }
}
