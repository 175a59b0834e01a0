//! Owns the arithmetic of numbers, rounded as Go rounds.

use dashu_int::{IBig, UBig, ops::BitTest as _, ops::DivRem as _, ops::UnsignedAbs as _};

use super::decimal::as_i64;
use super::{LITERAL_PRECISION, MAX_BINARY_EXPONENT, Number, NumberError};

impl Number {
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

    pub(super) fn divide_to(&self, other: &Self, precision: u32) -> Self {
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

    /// Returns the mantissa written with a smaller exponent.
    pub(super) fn mantissa_at(&self, exponent: i64) -> Result<IBig, NumberError> {
        if self.mantissa == IBig::ZERO {
            return Ok(IBig::ZERO);
        }
        let shift = usize::try_from(self.exponent - exponent).map_err(|_| NumberError::TooLarge)?;
        Ok(&self.mantissa << shift)
    }

    pub(super) fn bounded(self) -> Result<Self, NumberError> {
        if self.exponent.abs() > MAX_BINARY_EXPONENT { Err(NumberError::TooLarge) } else { Ok(self) }
    }
}
