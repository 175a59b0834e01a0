//! Owns numbers: binary floats of stated precision that round and print exactly as Go's `big.Float` does.
//!
//! cty (HCL's value library) computes with 512-bit floats, except where a function hands it a machine integer (64 bits)
//! or a `float64` (53 bits); the precision travels with the number and shows when it is printed.

mod arithmetic;
mod decimal;
mod text;

#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use dashu_int::{IBig, UBig, ops::BitTest as _, ops::UnsignedAbs as _};

use decimal::as_i64;

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
