//! Owns numbers: binary floats of stated precision that round and print exactly as Go's `big.Float` does.
//!
//! cty (HCL's value library) computes with 512-bit floats, except where a function hands it a machine integer (64 bits)
//! or a `float64` (53 bits); the precision travels with the number and shows when it is printed.

mod decimal;

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;

use dashu_int::{IBig, UBig, ops::BitTest as _, ops::DivRem as _, ops::UnsignedAbs as _};

use decimal::{Decimal, as_i64};

/// Bits of mantissa of number literals and of everything computed from them.
pub(crate) const LITERAL_PRECISION: u32 = 512;
/// Largest decimal exponent that is accepted, to keep hostile literals from filling the memory.
const MAX_DECIMAL_EXPONENT: i64 = 20_000;
/// Largest binary exponent of a result, for the same reason.
const MAX_BINARY_EXPONENT: i64 = 80_000;

/// The exponent of infinities, whose mantissa is 1 or -1.
const INFINITE: i64 = i64::MIN;

/// `mantissa × 2^exponent`, with the mantissa odd (or the whole number zero); or an infinity, as in Go.
#[derive(Clone)]
pub(crate) struct Number {
    mantissa: IBig,
    exponent: i64,
    precision: u32,
}

/// Why a number cannot be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NumberError {
    #[error("division by zero")]
    DivisionByZero,
    #[error("the number is too large")]
    TooLarge,
    #[error("{0}")]
    Undefined(&'static str),
}

impl Number {
    /// Returns zero.
    pub(crate) fn zero() -> Self {
        Self { mantissa: IBig::ZERO, exponent: 0, precision: LITERAL_PRECISION }
    }

    /// Returns an infinity.
    pub(crate) fn infinity(negative: bool) -> Self {
        let mantissa = if negative { -IBig::ONE } else { IBig::ONE };
        Self { mantissa, exponent: INFINITE, precision: LITERAL_PRECISION }
    }

    pub(crate) fn is_infinite(&self) -> bool {
        self.exponent == INFINITE
    }

    /// Rounds to `precision` bits, half to even, and removes factors of two.
    fn rounded(mantissa: IBig, exponent: i64, precision: u32) -> Self {
        Self::rounded_sticky(mantissa, exponent, precision, false)
    }

    /// As [`Self::rounded`]; `sticky` says that the true value is slightly larger in magnitude.
    fn rounded_sticky(mantissa: IBig, mut exponent: i64, precision: u32, sticky: bool) -> Self {
        let negative = mantissa < IBig::ZERO;
        let mut magnitude: UBig = mantissa.unsigned_abs();
        let excess = magnitude.bit_len().saturating_sub(precision as usize);
        if excess > 0 {
            let half = UBig::ONE << (excess - 1);
            let low = &magnitude & ((UBig::ONE << excess) - UBig::ONE);
            magnitude >>= excess;
            exponent += as_i64(excess);
            let up = match low.cmp(&half) {
                Ordering::Greater => true,
                Ordering::Equal => sticky || magnitude.bit(0),
                Ordering::Less => false,
            };
            if up {
                magnitude += UBig::ONE;
            }
        }
        if let Some(zeros) = magnitude.trailing_zeros() {
            magnitude >>= zeros;
            exponent += as_i64(zeros);
        } else {
            exponent = 0;
        }
        let mantissa = if negative { -IBig::from(magnitude) } else { IBig::from(magnitude) };
        Self { mantissa, exponent, precision }
    }

    /// Parses a decimal literal (`12`, `1.5`, `-2e10`) as Go's `big.ParseFloat` with 512 bits does.
    ///
    /// Returns nothing when the text is not a decimal number or its exponent is out of bounds.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (digits, exponent) = match digits.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, exponent.parse::<i64>().ok()?),
            None => (digits, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !plain(whole) || !plain(fraction) {
            return None;
        }
        let all: String = [whole, fraction].concat();
        let exponent = exponent.checked_sub(as_i64(fraction.len()))?;
        if exponent.abs() > MAX_DECIMAL_EXPONENT || all.len() > MAX_DECIMAL_EXPONENT as usize {
            return None;
        }
        let magnitude: UBig = all.parse().ok()?;
        let mantissa = if negative { -IBig::from(magnitude) } else { IBig::from(magnitude) };
        let unscaled = Self { mantissa, exponent: 0, precision: LITERAL_PRECISION };
        if exponent == 0 {
            return Some(Self::rounded(unscaled.mantissa, 0, LITERAL_PRECISION));
        }
        // 10^n = 5^n × 2^n; Go rounds the power of five to 64 bits more than the result.
        let power = power_of_five(exponent.unsigned_abs(), LITERAL_PRECISION + 64);
        let mut scaled = if exponent < 0 {
            unscaled.divide_to(&power, LITERAL_PRECISION)
        } else {
            Self::rounded(&unscaled.mantissa * &power.mantissa, unscaled.exponent + power.exponent, LITERAL_PRECISION)
        };
        if scaled.mantissa != IBig::ZERO {
            scaled.exponent += exponent;
        }
        Some(scaled)
    }

    /// Converts a machine float, keeping its 53 bits; nothing for infinities and NaN.
    pub(crate) fn from_f64(value: f64) -> Option<Self> {
        if !value.is_finite() {
            return None;
        }
        let bits = value.to_bits();
        let biased = i64::from(u32::try_from((bits >> 52) & 0x7ff).ok()?);
        let fraction = bits & ((1 << 52) - 1);
        let (magnitude, exponent) = if biased == 0 { (fraction, -1074) } else { (fraction | 1 << 52, biased - 1075) };
        let mantissa = if value < 0.0 { -IBig::from(magnitude) } else { IBig::from(magnitude) };
        Some(Self::rounded(mantissa, exponent, 53))
    }

    /// Returns the nearest machine float.
    pub(crate) fn to_f64(&self) -> f64 {
        if self.is_infinite() {
            return if self.sign() < 0 { f64::NEG_INFINITY } else { f64::INFINITY };
        }
        // 53 bits and one rounding step; subnormal results may round twice, which no template function can show.
        let rounded = Self::rounded(self.mantissa.clone(), self.exponent, 53);
        let magnitude = i64::try_from(&rounded.mantissa).unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "at most 53 bits are left")]
        let mut value = magnitude as f64;
        let mut exponent = rounded.exponent;
        while exponent > 0 && value.is_finite() {
            let step = exponent.min(1000);
            value *= 2f64.powi(i32::try_from(step).unwrap_or(1000));
            exponent -= step;
        }
        while exponent < 0 && value != 0.0 {
            let step = (-exponent).min(1000);
            value /= 2f64.powi(i32::try_from(step).unwrap_or(1000));
            exponent += step;
        }
        value
    }

    /// Returns the value, if it is whole.
    pub(crate) fn to_integer(&self) -> Option<IBig> {
        let shift = usize::try_from(self.exponent).ok()?;
        Some(&self.mantissa << shift)
    }

    /// Returns the value, if it is whole and fits.
    pub(crate) fn to_i64(&self) -> Option<i64> {
        if self.exponent > 64 {
            return None;
        }
        i64::try_from(self.to_integer()?).ok()
    }

    /// Reports whether there is no fraction.
    pub(crate) fn is_integer(&self) -> bool {
        self.exponent >= 0
    }

    /// Returns -1, 0 or 1.
    pub(crate) fn sign(&self) -> i64 {
        match self.mantissa.cmp(&IBig::ZERO) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }
    }

    pub(crate) fn negate(&self) -> Self {
        Self { mantissa: -self.mantissa.clone(), ..self.clone() }
    }

    pub(crate) fn absolute(&self) -> Self {
        if self.sign() < 0 { self.negate() } else { self.clone() }
    }

    pub(crate) fn add(&self, other: &Self) -> Result<Self, NumberError> {
        match (self.is_infinite(), other.is_infinite()) {
            (true, true) if self.sign() != other.sign() => {
                return Err(NumberError::Undefined("can't subtract infinity from itself"));
            }
            (true, _) => return Ok(self.clone()),
            (_, true) => return Ok(other.clone()),
            _ => {}
        }
        let low = self.exponent.min(other.exponent);
        let sum = self.mantissa_at(low)? + other.mantissa_at(low)?;
        Self::rounded(sum, low, self.precision.max(other.precision)).bounded()
    }

    pub(crate) fn subtract(&self, other: &Self) -> Result<Self, NumberError> {
        self.add(&other.negate())
    }

    /// Multiplies exactly where 512 bits suffice, as cty does, and keeps the wider precision needed.
    pub(crate) fn multiply(&self, other: &Self) -> Result<Self, NumberError> {
        if self.is_infinite() || other.is_infinite() {
            return match self.sign() * other.sign() {
                0 => Err(NumberError::Undefined("can't multiply zero by infinity")),
                sign => Ok(Self::infinity(sign < 0)),
            };
        }
        let exact = Self::rounded(
            &self.mantissa * &other.mantissa,
            self.exponent + other.exponent,
            LITERAL_PRECISION.max(self.precision).max(other.precision),
        );
        let needed = u32::try_from(exact.mantissa.bit_len()).unwrap_or(u32::MAX);
        let precision = self.precision.max(other.precision).max(needed);
        Self { precision, ..exact }.bounded()
    }

    pub(crate) fn divide(&self, other: &Self) -> Result<Self, NumberError> {
        if (self.sign() == 0 && other.sign() == 0) || (self.is_infinite() && other.is_infinite()) {
            return Err(NumberError::Undefined("can't divide zero by zero or infinity by infinity"));
        }
        if other.is_infinite() {
            return Ok(Self::zero());
        }
        if self.is_infinite() || other.sign() == 0 {
            return Ok(Self::infinity((self.sign() < 0) != (other.sign() < 0)));
        }
        self.divide_to(other, self.precision.max(other.precision)).bounded()
    }

    fn divide_to(&self, other: &Self, precision: u32) -> Self {
        let wanted = precision as usize + 2 + other.mantissa.bit_len();
        let shift = wanted.saturating_sub(self.mantissa.bit_len());
        let (quotient, remainder) = (&self.mantissa << shift).div_rem(&other.mantissa);
        let exponent = self.exponent - other.exponent - as_i64(shift);
        // One more bit holds whether anything was cut off.
        let mut mantissa: IBig = quotient << 1;
        let negative = (self.mantissa < IBig::ZERO) != (other.mantissa < IBig::ZERO);
        if remainder != IBig::ZERO {
            mantissa += if negative { -IBig::ONE } else { IBig::ONE };
        }
        Self::rounded(mantissa, exponent - 1, precision)
    }

    /// Returns what is left after dividing by `other`, with the sign of `self`, as cty computes `%`.
    pub(crate) fn modulo(&self, other: &Self) -> Result<Self, NumberError> {
        if other.sign() == 0 {
            return Err(NumberError::DivisionByZero);
        }
        if self.is_infinite() || other.is_infinite() {
            return Err(NumberError::Undefined("infinity has no remainder"));
        }
        let times = self.divide(other)?.truncate();
        let multiple =
            Self::rounded(&other.mantissa * &times.mantissa, other.exponent + times.exponent, self.precision);
        Ok(Self { precision: self.precision, ..self.subtract(&multiple)? })
    }

    /// Cuts the fraction off.
    pub(crate) fn truncate(&self) -> Self {
        if self.exponent >= 0 || self.is_infinite() {
            return self.clone();
        }
        let shift = usize::try_from(-self.exponent).unwrap_or(usize::MAX);
        let magnitude =
            if shift > self.mantissa.bit_len() { UBig::ZERO } else { self.mantissa.clone().unsigned_abs() >> shift };
        let mantissa = if self.sign() < 0 { -IBig::from(magnitude) } else { IBig::from(magnitude) };
        Self::rounded(mantissa, 0, self.precision)
    }

    /// Rounds down.
    pub(crate) fn floor(&self) -> Self {
        if self.is_infinite() {
            return self.clone();
        }
        let cut = self.truncate();
        if self.sign() < 0 && !self.is_integer() {
            Self::rounded(cut.to_integer().unwrap_or(IBig::ZERO) - IBig::ONE, 0, self.precision)
        } else {
            cut
        }
    }

    /// Rounds up.
    pub(crate) fn ceil(&self) -> Self {
        self.negate().floor().negate()
    }

    /// Returns the exact decimal digits of the magnitude.
    fn decimal(&self) -> Decimal {
        if self.mantissa == IBig::ZERO {
            return Decimal { digits: Vec::new(), point: 0 };
        }
        Decimal::new(&self.mantissa.clone().unsigned_abs(), self.exponent)
    }

    /// Returns the magnitude with exactly `decimals` digits after the point (Go's `%f`).
    pub(crate) fn fixed(&self, decimals: usize) -> String {
        if self.is_infinite() {
            return "Inf".into();
        }
        let mut decimal = self.decimal();
        decimal.round(decimal.point.saturating_add(as_i64(decimals)));
        let point = decimal.point.max(0);
        let whole: String = match point {
            0 => "0".into(),
            point => {
                (0..point).map(|index| char::from(decimal.at(usize::try_from(index).unwrap_or(usize::MAX)))).collect()
            }
        };
        if decimals == 0 {
            return whole;
        }
        let fraction = (0..as_i64(decimals)).map(|index| match usize::try_from(decimal.point + index) {
            Ok(index) => char::from(decimal.at(index)),
            Err(_) => '0',
        });
        format!("{whole}.{}", fraction.collect::<String>())
    }

    /// Returns the magnitude as `d.ddde±dd` with `decimals` digits after the point (Go's `%e`).
    pub(crate) fn exponential(&self, decimals: usize) -> String {
        if self.is_infinite() {
            return "Inf".into();
        }
        let mut decimal = self.decimal();
        decimal.round(as_i64(decimals).saturating_add(1));
        decimal.exponential(decimals)
    }

    /// Returns the magnitude in the shorter of both forms (Go's `%g`): of all digits that count without a precision.
    pub(crate) fn general(&self, precision: Option<usize>) -> String {
        if self.is_infinite() {
            return "Inf".into();
        }
        let mut decimal = self.decimal();
        let limit = match precision {
            None => {
                if !decimal.digits.is_empty() {
                    let magnitude = self.mantissa.clone().unsigned_abs();
                    decimal.shorten(&magnitude, self.exponent, self.precision);
                }
                // Go decides as if six digits had been asked for.
                6
            }
            Some(precision) => {
                let precision = precision.max(1);
                decimal.round(as_i64(precision));
                let digits = decimal.digits.len();
                if precision > digits && as_i64(digits) >= decimal.point { digits } else { precision }
            }
        };
        if decimal.digits.is_empty() {
            return "0".into();
        }
        let exponent = decimal.point - 1;
        if exponent < -4 || exponent >= as_i64(limit) {
            let decimals = decimal.digits.len() - 1;
            return decimal.exponential(decimals);
        }
        decimal.plain()
    }

    /// Returns the mantissa written with a smaller exponent.
    fn mantissa_at(&self, exponent: i64) -> Result<IBig, NumberError> {
        if self.mantissa == IBig::ZERO {
            return Ok(IBig::ZERO);
        }
        let shift = usize::try_from(self.exponent - exponent).map_err(|_| NumberError::TooLarge)?;
        Ok(&self.mantissa << shift)
    }

    fn bounded(self) -> Result<Self, NumberError> {
        if self.exponent.abs() > MAX_BINARY_EXPONENT { Err(NumberError::TooLarge) } else { Ok(self) }
    }
}

/// Computes `5^power` by squaring, rounded to `precision` bits at each step (64 bits more while squaring).
fn power_of_five(power: u64, precision: u32) -> Number {
    // Go begins with the largest power that fits a 64-bit word.
    const FIRST: u64 = 27;
    let small = |power: u64| IBig::from(5u64.pow(u32::try_from(power.min(FIRST)).unwrap_or(0)));
    let mut result = Number::rounded(small(power), 0, precision);
    let mut left = power.saturating_sub(FIRST);
    let mut square = Number::rounded(IBig::from(5), 0, precision + 64);
    while left > 0 {
        if left & 1 != 0 {
            result = Number::rounded(&result.mantissa * &square.mantissa, result.exponent + square.exponent, precision);
        }
        square = Number::rounded(&square.mantissa * &square.mantissa, square.exponent * 2, precision + 64);
        left >>= 1;
    }
    result
}

impl fmt::Display for Number {
    /// Writes the shortest decimal text that reads back as this number at its precision, never with an exponent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.mantissa == IBig::ZERO {
            return f.write_str("0");
        }
        if self.is_infinite() {
            return f.write_str(if self.sign() < 0 { "-Inf" } else { "+Inf" });
        }
        if self.mantissa < IBig::ZERO {
            f.write_str("-")?;
        }
        let magnitude = self.mantissa.clone().unsigned_abs();
        let mut decimal = Decimal::new(&magnitude, self.exponent);
        decimal.shorten(&magnitude, self.exponent, self.precision);
        f.write_str(&decimal.plain())
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<i64> for Number {
    /// Converts a machine integer, with its 64 bits of precision.
    fn from(value: i64) -> Self {
        Self::rounded(IBig::from(value), 0, 64)
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        Self::from(as_i64(value))
    }
}

impl From<IBig> for Number {
    /// Converts an integer of any size, with at least 64 bits of precision and at most 512.
    fn from(value: IBig) -> Self {
        let bits = u32::try_from(value.bit_len()).unwrap_or(u32::MAX);
        Self::rounded(value, 0, bits.clamp(64, LITERAL_PRECISION))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.mantissa == other.mantissa && self.exponent == other.exponent
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.is_infinite() || other.is_infinite() {
            let rank = |number: &Self| if number.is_infinite() { number.sign() * 2 } else { number.sign() };
            return rank(self).cmp(&rank(other));
        }
        let low = self.exponent.min(other.exponent);
        match (self.mantissa_at(low), other.mantissa_at(low)) {
            (Ok(left), Ok(right)) => left.cmp(&right),
            _ => self.sign().cmp(&other.sign()),
        }
    }
}
