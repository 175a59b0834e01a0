//! Tests of the functions whose details are easy to get wrong; the corpus and differential tests have the bulk.

use crate::eval::tests::evaluated;

fn check(lines: &str) {
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let (expression, expected) = line.trim().rsplit_once(" => ").unwrap();
        assert_eq!(evaluated(expression), expected, "{expression}");
    }
}

#[test]
fn formats_as_in_go() {
    // Recorded from Go's cty.
    check(
        r#"
        format("%05s|%-5s|%5s", "a","b","c") => "0000a|b    |    c" string
        format("%[2]s %[1]s","a","b") => "b a" string
        format("%6.2[1]f",3.14159) => "  3.14" string
        format("%+d % d %x %#x %o %b %X",5,6,255,255,8,5,255) => "+5  6 ff 0xff 10 101 FF" string
        format("%v %v %v %#v",1000000,1.5,[1,"a"],"x") => "1e+06 1.5 [1,\"a\"] \"x\"" string
        format("%e %E %g %f",1234.5,1234.5,0.00001,2) => "1.234500e+03 1.234500E+03 1e-05 2.000000" string
        format("%s",null) => ERR Error in function call
        format("%v",null) => "null" string
        format("a","b") => ERR Invalid function argument
        format("%q",1) => "\"1\"" string
        format("%.2s","héllo") => "hé" string
        format("%08.3f",-3.14159) => "-003.142" string
        format("%.0f %.0f",0.5,1.5) => "0 2" string
        format("%10.3e|",12345.678) => " 1.235e+04|" string
        format("%.3d",5) => "005" string
        format("%5d|%-5d|%05d",42,42,-42) => "   42|42   |-0042" string
        format("%G %.3g",1e100,1234567) => "1E+100 1.23e+06" string
        "#,
    );
}

#[test]
fn patterns_as_in_go() {
    check(
        r#"
        regex("(\\d\\d\\d\\d)-(\\d\\d)", "2019-02-01") => ["2019","02"] tuple
        regex("(?P<y>\\d+)-(?P<m>\\d+)", "2019-02") => {"m":"02","y":"2019"} object
        regex("x", "y") => ERR Error in function call
        regexall("[a-z]+", "12ab cd") => ["ab","cd"] list of string
        regex_replace("-ab-axxb-", "a(x*)b", "$${1}W") => "-W-xxW-" string
        regex("(a", "a") => ERR Invalid function argument
        regex("\\w+", "é1_") => "1_" string
        regex("a{1001}", "a") => ERR Invalid function argument
        regex("[[:alpha:]\\d&&-]+", "a1&-") => "a1\u0026-" string
        regex("{", "{") => "{" string
        regex("[]a]+", "]a") => "]a" string
        "#,
    );
}

#[test]
fn hostile_arguments_are_refused() {
    check(
        r#"
        range(0, 1000000) => ERR Error in function call
        indent(1000000000, "a\nb") => ERR Invalid function argument
        bcrypt("x", 40) => ERR Invalid function argument
        jsondecode("[") => ERR Invalid function argument
        base64decode("//8=") => ERR Invalid function argument
        cidrsubnet("10.0.0.0/8", 300, 1) => ERR Error in function call
        cidrhost("nonsense", 1) => ERR Invalid function argument
        substr("hello", -3, 2) => "ll" string
        substr("hello", 9, -1) => "" string
        chunklist([1,2,3], 0) => [[1,2,3]] list of list of number
        element([], 0) => ERR Invalid function argument
        formatdate("YYYYY", "2020-01-02T03:04:05Z") => ERR Invalid function argument
        timeadd("2020-01-02", "1h") => ERR Invalid function argument
        "#,
    );
}

#[test]
fn data_formats() {
    check(
        r#"
        jsonencode({b=[1,null,"<"],a=true}) => "{\"a\":true,\"b\":[1,null,\"\\u003c\"]}" string
        yamldecode("a: [1, x, 1.5]\nb: ~") => {"a":[1,"x",1.5],"b":null} object
        yamldecode("{a: &x {k: 1}, b: {<<: *x, l: 0x10}}") => {"a":{"k":1},"b":{"k":1,"l":16}} object
        yamldecode("a: &x [*x]") => ERR Error in function call
        yamldecode("a: 1\n---\nb: 2") => ERR Error in function call
        yamldecode("- \"1\"\n- !!str 1\n- 010\n- 2001-01-01") => ["1","1",10,"2001-01-01T00:00:00Z"] tuple
        yamldecode("") => null dynamic
        yamlencode({a=[1,{b="c"}],d={}}) => "\"a\":\n- 1\n- \"b\": \"c\"\n\"d\": {}\n" string
        csvdecode("a,b\n1,2") => [{"a":"1","b":"2"}] list of object
        textdecodebase64(textencodebase64("hé", "UTF-16LE"), "UTF-16LE") => "hé" string
        base64gzip("") => "H4sIAAAAAAAA/wEAAP//AAAAAAAAAAA=" string
        "#,
    );
}

#[test]
fn yaml_scalars_as_in_go() {
    // Recorded from Packer, except 0x and 0o, which newer versions of the library read as numbers.
    check(
        r#"
        yamldecode("[y, Yes, on, ON, yEs, n, No, off, OFF, oN]") => [true,true,true,true,"yEs",false,false,false,false,"oN"] tuple
        yamldecode("[0644, 08, +12, -0644, 1_000, 0b101, .5, 5., 1.5e+3]") => [644,8,12,-644,1000,5,0.5,5,1500] tuple
        yamldecode("[0x1F, 0o644, -0x1F, 0xZZ, 1.2.3, .5_0, _1]") => [31,420,"-0x1F","0xZZ","1.2.3",".5_0","_1"] tuple
        yamldecode("[2024-01-31, 2001-1-4, 2001-13-01, 2001-02-30]") => ["2024-01-31T00:00:00Z","2001-01-04T00:00:00Z","2001-13-01","2001-02-30"] tuple
        yamldecode("2001-12-14t21:59:43.10-05:00") => "2001-12-14T21:59:43-05:00" string
        yamldecode("2001-12-15 2:59:43.10") => "2001-12-15T02:59:43Z" string
        yamldecode("2001-12-14T21:59:43") => "2001-12-14T21:59:43" string
        yamldecode("2001-12-14 21:59:43 +01:00") => "2001-12-14 21:59:43 +01:00" string
        yamldecode("[!!int \"2\", !!int 2, !!int 0x1F, !!float 1, !!bool yes, !!str yes, !!null x]") => ["2",2,31,1,true,"yes",null] tuple
        yamldecode("!!int x") => ERR Error in function call
        yamldecode("!!timestamp x") => ERR Error in function call
        yamldecode("!!binary aGVs bG8=") => ERR Error in function call
        yamldecode("! 1") => ERR Error in function call
        yamldecode("0b12") => ERR Error in function call
        jsonencode(yamldecode(".inf")) => ERR Error in function call
        yamldecode("[+.Inf, -.inf]") == [1/0, -1/0] => true bool
        yamldecode(".nan") => ERR Error in function call
        yamldecode("{yes: 1, 0644: a, 2001-01-01: x}") => {"2001-01-01T00:00:00Z":"x","644":"a","true":1} object
        "#,
    );
}
