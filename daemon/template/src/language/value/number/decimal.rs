//! Owns the decimal digits of numbers while they are rounded, shortened and written.

use dashu_int::{UBig, ops::BitTest as _};

/// A decimal number `0.DIGITS × 10^point` while it is being shortened.
pub(super) struct Decimal {
    pub(super) digits: Vec<u8>,
    pub(super) point: i64,
}

impl Decimal {
    /// Writes `magnitude × 2^exponent` exactly.
    pub(super) fn new(magnitude: &UBig, exponent: i64) -> Self {
        let (text, below) = if exponent >= 0 {
            ((magnitude << usize::try_from(exponent).unwrap_or(0)).to_string(), 0)
        } else {
            // m / 2^n = m × 5^n / 10^n
            let power = usize::try_from(-exponent).unwrap_or(0);
            ((magnitude * UBig::from(5u8).pow(power)).to_string(), as_i64(power))
        };
        let point = as_i64(text.len()) - below;
        let mut digits: Vec<u8> = text.into_bytes();
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        Self { digits, point }
    }

    /// Writes `d.ddde±dd`.
    pub(super) fn exponential(&self, decimals: usize) -> String {
        let mut out = String::from(char::from(self.at(0)));
        if decimals > 0 {
            out.push('.');
            out.extend((1..=decimals).map(|index| char::from(self.at(index))));
        }
        let exponent = if self.digits.is_empty() { 0 } else { self.point - 1 };
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{out}e{sign}{:02}", exponent.abs())
    }

    /// Writes all digits without an exponent.
    pub(super) fn plain(&self) -> String {
        let digits = std::str::from_utf8(&self.digits).unwrap_or_default();
        match usize::try_from(self.point).unwrap_or(0) {
            0 => format!("0.{}{digits}", "0".repeat(usize::try_from(-self.point).unwrap_or(0))),
            point if point >= digits.len() => format!("{digits}{}", "0".repeat(point - digits.len())),
            point => format!("{}.{}", &digits[..point], &digits[point..]),
        }
    }

    pub(super) fn at(&self, index: usize) -> u8 {
        self.digits.get(index).copied().unwrap_or(b'0')
    }

    /// Rounds to `length` digits, ties to the even digit. A negative length leaves nothing.
    pub(super) fn round(&mut self, length: i64) {
        let Ok(length) = usize::try_from(length) else {
            self.digits.clear();
            return;
        };
        if length >= self.digits.len() {
            return;
        }
        let next = self.at(length);
        let tie = next == b'5' && length + 1 >= self.digits.len();
        let up = if tie { length > 0 && self.digits[length - 1] % 2 == 1 } else { next >= b'5' };
        if up { self.round_up(length) } else { self.round_down(length) }
    }

    fn round_down(&mut self, length: usize) {
        self.digits.truncate(length);
        while self.digits.last() == Some(&b'0') {
            self.digits.pop();
        }
    }

    fn round_up(&mut self, length: usize) {
        let mut length = length;
        while length > 0 && self.digits[length - 1] == b'9' {
            length -= 1;
        }
        if length == 0 {
            self.digits = vec![b'1'];
            self.point += 1;
            return;
        }
        self.digits.truncate(length);
        self.digits[length - 1] += 1;
    }

    /// Keeps as few digits as still name only this number of `precision` bits.
    pub(super) fn shorten(&mut self, mantissa: &UBig, exponent: i64, precision: u32) {
        // Scale the mantissa to one bit more than the precision: one unit is then half a unit in the last place.
        let wanted = precision as usize + 1;
        let shift = wanted.saturating_sub(mantissa.bit_len());
        let scaled = mantissa << shift;
        let exponent = exponent - as_i64(shift);
        let lower = Self::new(&(&scaled - UBig::ONE), exponent);
        let upper = Self::new(&(&scaled + UBig::ONE), exponent);
        let inclusive = !scaled.bit(1);
        for index in 0..self.digits.len() {
            let (low, middle, high) = (lower.at(index), self.digits[index], upper.at(index));
            let down = low != middle || inclusive && index + 1 == lower.digits.len();
            let up = middle != high && (inclusive || middle + 1 < high || index + 1 < upper.digits.len());
            match (down, up) {
                (true, true) => {
                    let next = self.at(index + 1);
                    let tie = next == b'5' && index + 2 >= self.digits.len();
                    let rounds_up = if tie { middle % 2 == 1 } else { next >= b'5' };
                    if rounds_up {
                        self.round_up(index + 1);
                    } else {
                        self.round_down(index + 1);
                    }
                    return;
                }
                (true, false) => return self.round_down(index + 1),
                (false, true) => return self.round_up(index + 1),
                (false, false) => {}
            }
        }
    }
}

pub(super) fn as_i64(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
