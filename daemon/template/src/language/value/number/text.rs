//! Owns the texts of numbers: how literals are read, and how numbers are written, as Go does both.

use std::fmt;

use dashu_int::{IBig, UBig, ops::UnsignedAbs as _};

use super::decimal::{Decimal, as_i64};
use super::{LITERAL_PRECISION, MAX_DECIMAL_EXPONENT, Number};

impl Number {
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
