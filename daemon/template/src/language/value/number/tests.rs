//! Tests of numbers against results recorded from Go.

use super::*;

fn number(text: &str) -> Number {
    Number::parse(text).unwrap()
}

#[test]
fn literals_print_as_written() {
    for text in ["0", "1", "-1", "1.5", "0.1", "100000", "0.00001", "123456789012345678901234567890.5"] {
        assert_eq!(number(text).to_string(), text);
    }
    assert_eq!(number("1e5").to_string(), "100000");
    assert_eq!(number("1.10").to_string(), "1.1");
    assert_eq!(number("1e-3").to_string(), "0.001");
}

#[test]
fn tenths_add_up() {
    assert_eq!(number("0.1").add(&number("0.2")).unwrap().to_string(), "0.3");
}

#[test]
fn a_third_has_512_bits() {
    // Recorded from Go's cty.
    assert_eq!(
        number("1").divide(&number("3")).unwrap().to_string(),
        "0.33333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333335"
    );
}

#[test]
fn machine_floats_print_short() {
    // Recorded from Go's cty: pow(2, 60) goes through float64.
    assert_eq!(Number::from_f64(2f64.powi(60)).unwrap().to_string(), "1152921504606847000");
    assert_eq!(Number::from_f64(0.1).unwrap().to_string(), "0.1");
    assert_eq!(number("0.1").to_f64(), 0.1);
    assert_eq!(number("-1e300").to_f64(), -1e300);
}

#[test]
fn big_integers_are_exact() {
    let big = number("10000000000").multiply(&number("10000000000")).unwrap();
    assert_eq!(big.to_string(), "100000000000000000000");
}

#[test]
fn remainders_have_the_sign_of_the_left() {
    assert_eq!(number("-5").modulo(&number("3")).unwrap().to_string(), "-2");
    assert_eq!(number("5").modulo(&number("3.5")).unwrap().to_string(), "1.5");
    assert!(number("1").modulo(&number("0")).is_err());
}

#[test]
fn rounding_goes_the_right_way() {
    assert_eq!(number("-1.5").floor().to_string(), "-2");
    assert_eq!(number("-1.5").ceil().to_string(), "-1");
    assert_eq!(number("1.5").ceil().to_string(), "2");
    assert_eq!(number("0.25").truncate().to_string(), "0");
}

#[test]
fn hostile_literals_are_refused() {
    assert!(Number::parse("1e999999999").is_none());
    assert!(Number::parse("1e").is_none());
    assert!(Number::parse("").is_none());
    assert!(Number::parse("-").is_none());
}
