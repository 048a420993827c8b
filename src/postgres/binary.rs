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
    hexadecimal(text, 16)
}

/// So many bytes, each of two digits, whatever stands between them.
fn hexadecimal(text: &str, count: usize) -> Option<Vec<u8>> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    match digits.len() == 2 * count {
        true => (0..2 * count).step_by(2).map(byte).collect(),
        false => None,
    }
}

/// Family, bits of the network, whether it is a network, length, address.
fn address(text: &str, network: bool) -> Option<Vec<u8>> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
        None => (text, None),
    };
    // A network may be said by its first bytes.
    let parts = address.split('.').count();
    let (address, bits) = match network && parts < 4 && !address.contains(':') {
        true => (
            format!("{address}{}", ".0".repeat(4 - parts)),
            bits.or(u8::try_from(parts * 8).ok()),
        ),
        false => (address.to_owned(), bits),
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
    hexadecimal(text, 6)
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

/// `16/B374D848` as a number.
pub fn log_place(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let part = |text: &str| u32::from_str_radix(text, 16).ok();
    Some(u64::from(part(high)?) << 32 | u64::from(part(low)?))
}

fn log_position(text: &str) -> Option<Vec<u8>> {
    Some(log_place(text)?.to_be_bytes().to_vec())
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

/// The text of a value that [`reader`] reads; nothing for bytes that aren't of the type, and for a type whose values are kept
/// otherwise.
pub fn text_of(kind: &str, bytes: &[u8]) -> Option<String> {
    match kind {
        "inet" | "cidr" => address_text(bytes, kind == "cidr"),
        "macaddr" => {
            let parts: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            (parts.len() == 6).then(|| parts.join(":"))
        }
        "bit" | "varbit" => bits_text(bytes),
        "money" => money_text(i64::from_be_bytes(bytes.try_into().ok()?)),
        "point" => {
            let (x, y) = bytes.split_first_chunk::<8>()?;
            let y: [u8; 8] = y.try_into().ok()?;
            Some(format!(
                "({},{})",
                f64::from_be_bytes(*x),
                f64::from_be_bytes(y)
            ))
        }
        "int4range" => range_text(bytes, |bound| {
            Some(i32::from_be_bytes(bound.try_into().ok()?).to_string())
        }),
        "int8range" => range_text(bytes, |bound| {
            Some(i64::from_be_bytes(bound.try_into().ok()?).to_string())
        }),
        "pg_lsn" => {
            let (high, low) = bytes.split_first_chunk::<4>()?;
            let low = u32::from_be_bytes(low.try_into().ok()?);
            Some(format!("{:X}/{low:X}", u32::from_be_bytes(*high)))
        }
        "tid" => {
            let (block, offset) = bytes.split_first_chunk::<4>()?;
            let offset = u16::from_be_bytes(offset.try_into().ok()?);
            Some(format!("({},{offset})", u32::from_be_bytes(*block)))
        }
        _ => None,
    }
}

/// Whether values of a type that are kept as texts are sent as something else, which [`text_of`] reads.
pub fn has_text_of(kind: &str) -> bool {
    matches!(
        kind,
        "inet"
            | "cidr"
            | "macaddr"
            | "bit"
            | "varbit"
            | "money"
            | "point"
            | "int4range"
            | "int8range"
            | "pg_lsn"
            | "tid"
    )
}

fn address_text(bytes: &[u8], network: bool) -> Option<String> {
    let (&[_, bits, _, length], address) = bytes.split_first_chunk::<4>()?;
    let address = match length {
        4 => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
        _ => return None,
    };
    Some(match network || bits != length * 8 {
        true => format!("{address}/{bits}"),
        false => address.to_string(),
    })
}

fn bits_text(bytes: &[u8]) -> Option<String> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    let all: String = rest.iter().map(|byte| format!("{byte:08b}")).collect();
    all.get(..count).map(str::to_owned)
}

fn money_text(cents: i64) -> Option<String> {
    let sign = if cents < 0 { "-" } else { "" };
    let digits = (cents.unsigned_abs() / 100).to_string();
    let groups: Option<Vec<&str>> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).ok())
        .collect();
    let groups = groups?.join(",");
    Some(format!("{sign}${groups}.{:02}", cents.unsigned_abs() % 100))
}

fn range_text(bytes: &[u8], read: fn(&[u8]) -> Option<String>) -> Option<String> {
    let (flags, mut rest) = bytes.split_first()?;
    if flags & EMPTY != 0 {
        return Some("empty".to_owned());
    }
    let mut bounds = [String::new(), String::new()];
    for (bound, infinite) in bounds.iter_mut().zip([LOWER_INFINITE, UPPER_INFINITE]) {
        if flags & infinite != 0 {
            continue;
        }
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let (value, after) = after.split_at_checked(length)?;
        *bound = read(value)?;
        rest = after;
    }
    let opens = if flags & LOWER_INCLUSIVE != 0 {
        '['
    } else {
        '('
    };
    let closes = if flags & UPPER_INCLUSIVE != 0 {
        ']'
    } else {
        ')'
    };
    Some(format!("{opens}{}{closes}", bounds.join(",")))
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
            if has_text_of(kind) {
                assert_eq!(text_of(kind, &bytes).as_deref(), Some(text));
            }
        }
        let read = |kind: &str, text: &str| reader(kind).unwrap()(text);
        assert_eq!(read("cidr", "192.168.1"), read("cidr", "192.168.1.0/24"));
        assert_eq!(
            read("macaddr", "08-00-2B-01-02-03"),
            read("macaddr", "08002b:010203")
        );
        assert_eq!(read("inet", "here"), None);
        assert_eq!(read("bit", "12"), None);
    }
}
