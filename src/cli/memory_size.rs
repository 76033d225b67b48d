//! Sizes of memory as users write them: `1073741824`, `75%`, `1GB`, `512 MiB`.

use crate::usage::usage;

/// Used where the machine does not say how much it has.
const UNKNOWN_MACHINE_BYTES: u64 = 4 << 30;

/// Bytes of a size. Decimal and binary suffixes both count in powers of 1024, as Postgres does.
pub(crate) fn parse(text: &str, machine_bytes: u64) -> anyhow::Result<usize> {
    let wrong = || usage(format!("\"{text}\" is not a memory size; write bytes, a percentage, or a size such as 1GB"));
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let scale = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" | "kib" => 1024.0,
        "m" | "mb" | "mib" => 1024.0 * 1024.0,
        "g" | "gb" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tb" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "%" if number <= 100.0 => machine_bytes as f64 / 100.0,
        _ => return Err(wrong()),
    };
    let bytes = number * scale;
    if bytes < 1.0 || bytes >= usize::MAX as f64 { Err(wrong()) } else { Ok(bytes as usize) }
}

/// Memory of this machine, or of its container if that has less.
pub(crate) fn machine_bytes() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
    });
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    machine.into_iter().chain(container).min().unwrap_or(UNKNOWN_MACHINE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let bytes = |text| parse(text, 1000).ok();
        assert_eq!(bytes("123"), Some(123));
        assert_eq!(bytes("75%"), Some(750));
        assert_eq!(bytes("1GB"), Some(1 << 30));
        assert_eq!(bytes("1.5 MiB"), Some(3 << 19));
        assert_eq!(bytes("101%"), None);
        assert_eq!(bytes("0"), None);
        assert_eq!(bytes("lots"), None);
        assert_eq!(bytes("-1"), None);
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(machine_bytes() > 1 << 20);
    }
}
