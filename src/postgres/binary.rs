//! Values in Postgres' binary format, where they are kept as texts, or as numbers that don't know how they are written.

use std::net::IpAddr;

/// Makes the bytes of a value of its text; nothing for a text that isn't one of the type.
pub type Reader = fn(&str) -> Option<Vec<u8>>;

/// The families of addresses, as Postgres numbers them.
const IPV4: u8 = 2;
const IPV6: u8 = 3;

/// What is said of a range.
const EMPTY: u8 = 1;
const LOWER_INCLUSIVE: u8 = 2;
const UPPER_INCLUSIVE: u8 = 4;
const LOWER_INFINITE: u8 = 8;
const UPPER_INFINITE: u8 = 16;

/// The sign of a numeric below zero.
const NEGATIVE: u16 = 0x4000;

/// How the values of a type are read; nothing for one whose values are sent as they are kept.
pub fn reader(kind: &str) -> Option<Reader> {
    let read: Reader = match kind {
        "uuid" => uuid,
        "jsonb" => |text| Some([&[1], text.as_bytes()].concat()),
        "inet" => |text| address(text, false),
        "cidr" => |text| address(text, true),
        "macaddr" => hardware_address,
        "bit" | "varbit" => bits,
        "money" => money,
        "point" => point,
        "int4range" => |text| {
            range(text, |bound| {
                Some(bound.parse::<i32>().ok()?.to_be_bytes().to_vec())
            })
        },
        "int8range" => |text| {
            range(text, |bound| {
                Some(bound.parse::<i64>().ok()?.to_be_bytes().to_vec())
            })
        },
        "pg_lsn" => log_position,
        "tid" => row_position,
        "numeric" => numeric,
        _ => return None,
    };
    Some(read)
}

/// Whether values of a type, or arrays of them, are sent as text only.
pub fn is_text_only(kind: &str) -> bool {
    matches!(kind.trim_start_matches('_'), "tsvector" | "tsquery")
}

fn uuid(text: &str) -> Option<Vec<u8>> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    match digits.len() {
        32 => (0..32).step_by(2).map(byte).collect(),
        _ => None,
    }
}

/// Family, bits of the network, whether it is a network, length, address.
fn address(text: &str, network: bool) -> Option<Vec<u8>> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let (family, address) = match address.trim().parse::<IpAddr>().ok()? {
        IpAddr::V4(address) => (IPV4, address.octets().to_vec()),
        IpAddr::V6(address) => (IPV6, address.octets().to_vec()),
    };
    let length = u8::try_from(address.len()).ok()?;
    let bits = bits.unwrap_or(length * 8);
    let mut bytes = vec![family, bits, u8::from(network), length];
    bytes.extend(address);
    (bits <= length * 8).then_some(bytes)
}

fn hardware_address(text: &str) -> Option<Vec<u8>> {
    let parts: Vec<&str> = text.split(':').collect();
    let byte = |part: &&str| u8::from_str_radix(part, 16).ok();
    match parts.len() {
        6 => parts.iter().map(byte).collect(),
        _ => None,
    }
}

/// How many there are, and then eight in a byte.
fn bits(text: &str) -> Option<Vec<u8>> {
    let mut bytes = i32::try_from(text.len()).ok()?.to_be_bytes().to_vec();
    for part in text.as_bytes().chunks(8) {
        let mut byte = 0;
        for (at, bit) in part.iter().enumerate() {
            match bit {
                b'0' => {}
                b'1' => byte |= 0x80_u8 >> at,
                _ => return None,
            }
        }
        bytes.push(byte);
    }
    Some(bytes)
}

/// `-$1,234.50`, in cents.
fn money(text: &str) -> Option<Vec<u8>> {
    let (whole, cents) = text.split_once('.').unwrap_or((text, "00"));
    let digits = whole.chars().chain(cents.chars());
    let digits: String = digits.filter(char::is_ascii_digit).collect();
    let amount: i64 = match cents.len() {
        2 => digits.parse().ok()?,
        _ => return None,
    };
    let amount = if text.contains('-') { -amount } else { amount };
    Some(amount.to_be_bytes().to_vec())
}

/// `(x,y)`
fn point(text: &str) -> Option<Vec<u8>> {
    let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
    let (x, y) = inner.split_once(',')?;
    let (x, y): (f64, f64) = (x.trim().parse().ok()?, y.trim().parse().ok()?);
    Some([x.to_be_bytes(), y.to_be_bytes()].concat())
}

/// `[1,5)`: what is said of it, and then those of its bounds that there are.
fn range(text: &str, read: fn(&str) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    if text == "empty" {
        return Some(vec![EMPTY]);
    }
    let (lower, upper) = text.get(1..text.len().checked_sub(1)?)?.split_once(',')?;
    let mut flags = 0;
    let mut bounds = Vec::new();
    for (bound, infinite, inclusive, closed) in [
        (
            lower,
            LOWER_INFINITE,
            LOWER_INCLUSIVE,
            text.starts_with('['),
        ),
        (upper, UPPER_INFINITE, UPPER_INCLUSIVE, text.ends_with(']')),
    ] {
        if bound.is_empty() {
            flags |= infinite;
            continue;
        }
        if closed {
            flags |= inclusive;
        }
        let bytes = read(bound.trim())?;
        bounds.extend(u32::try_from(bytes.len()).ok()?.to_be_bytes());
        bounds.extend(bytes);
    }
    let mut bytes = vec![flags];
    bytes.extend(bounds);
    Some(bytes)
}

/// `16/B374D848`
fn log_position(text: &str) -> Option<Vec<u8>> {
    let (high, low) = text.split_once('/')?;
    let part = |text: &str| u32::from_str_radix(text, 16).ok();
    Some([part(high)?.to_be_bytes(), part(low)?.to_be_bytes()].concat())
}

/// `(1,2)`
fn row_position(text: &str) -> Option<Vec<u8>> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    let (block, offset) = inner.split_once(',')?;
    let mut bytes = block.parse::<u32>().ok()?.to_be_bytes().to_vec();
    bytes.extend(offset.parse::<u16>().ok()?.to_be_bytes());
    Some(bytes)
}

/// Groups of four digits, the number of those before the point less one, the sign, and how many digits are shown behind the point.
fn numeric(text: &str) -> Option<Vec<u8>> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (NEGATIVE, digits),
        None => (0, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = u16::try_from(fraction.len()).ok()?;
    let whole = format!("{}{whole}", "0".repeat((4 - whole.len() % 4) % 4));
    let fraction = format!("{fraction}{}", "0".repeat((4 - fraction.len() % 4) % 4));
    let all = format!("{whole}{fraction}");
    let group = |at: usize| all.get(at..at + 4)?.parse::<u16>().ok();
    let groups = (0..all.len()).step_by(4).map(group);
    let groups: Vec<u16> = groups.collect::<Option<_>>()?;
    let leading = groups.iter().take_while(|group| **group == 0).count();
    let end = groups
        .iter()
        .rposition(|group| *group != 0)
        .map_or(leading, |at| at + 1);
    let groups = groups.get(leading..end).unwrap_or_default();
    let weight = i16::try_from(whole.len() / 4).ok()? - 1 - i16::try_from(leading).ok()?;
    let (weight, sign) = if groups.is_empty() {
        (0, 0)
    } else {
        (weight, sign)
    };
    let mut bytes = u16::try_from(groups.len()).ok()?.to_be_bytes().to_vec();
    bytes.extend(weight.to_be_bytes());
    bytes.extend(sign.to_be_bytes());
    bytes.extend(scale.to_be_bytes());
    bytes.extend(groups.iter().flat_map(|group| group.to_be_bytes()));
    Some(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Expected: PostgreSQL 15.18, the type's send function: `encode(inet_send('192.168.0.1/24'), 'hex')`.
    #[test]
    fn a_text_is_sent_as_postgres_sends_it() {
        for (kind, text, expected) in [
            (
                "uuid",
                "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
                "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            ),
            ("jsonb", "{}", "017b7d"),
            ("inet", "192.168.0.1/24", "02180004c0a80001"),
            ("inet", "1.2.3.4", "0220000401020304"),
            ("inet", "::1", "0380001000000000000000000000000000000001"),
            ("cidr", "10.0.0.0/8", "020801040a000000"),
            ("macaddr", "08:00:2b:01:02:03", "08002b010203"),
            ("bit", "10101", "00000005a8"),
            ("varbit", "101", "00000003a0"),
            ("varbit", "", "00000000"),
            ("money", "$12.34", "00000000000004d2"),
            ("money", "-$1,234.50", "fffffffffffe1dc6"),
            ("point", "(1,2.5)", "3ff00000000000004004000000000000"),
            ("int4range", "[1,5)", "0200000004000000010000000400000005"),
            ("int4range", "empty", "01"),
            ("int8range", "(,6)", "08000000080000000000000006"),
            ("pg_lsn", "16/B374D848", "00000016b374d848"),
            ("tid", "(1,2)", "000000010002"),
            ("numeric", "1.5", "000200000000000100011388"),
            ("numeric", "100000", "0001000100000000000a"),
            ("numeric", "0", "0000000000000000"),
            ("numeric", "-0.0012", "0001ffff40000004000c"),
        ] {
            let bytes = reader(kind).unwrap()(text).unwrap();
            let found: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(found, expected, "{kind} {text}");
        }
        assert_eq!(reader("inet").unwrap()("here"), None);
        assert_eq!(reader("bit").unwrap()("12"), None);
    }
}
