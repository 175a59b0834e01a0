//! Tests of the functions whose details are easy to get wrong; the corpus and differential tests have the bulk.

use crate::language::eval::tests::evaluated;

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
        base64gzip("") => "H4sIAAAAAAAA/wMAAAAAAAAAAAA=" string
        length(base64gzip(join("", [for n in range(1000) : "aaaaaaaaaa"]))) < 100 => true bool
        "#,
    );
}

#[test]
fn csv_as_in_go() {
    // Recorded from Packer.
    check(
        r#"
        csvdecode("k,z\n1,2\"3\n") => ERR Invalid function argument
        csvdecode("k,z\n1,\"2\"3\n") => ERR Invalid function argument
        csvdecode("k,z\n1,\"23\n") => ERR Invalid function argument
        csvdecode("k,z\n 1 , \"2\"\n") => ERR Invalid function argument
        csvdecode("k,z\n1\n") => ERR Invalid function argument
        csvdecode("") => ERR Invalid function argument
        csvdecode("\n\nk,z\n\n1,2\n\r\n") => [{"k":"1","z":"2"}] list of object
        csvdecode("k,z\r\n1,\"a\r\nb\"\r\n") => [{"k":"1","z":"a\nb"}] list of object
        csvdecode("k,z\n1,2\r3\n") => [{"k":"1","z":"2\r3"}] list of object
        csvdecode("k,z\n1,2\r") => [{"k":"1","z":"2"}] list of object
        csvdecode("k\n\"a\"\"b\"\n") => [{"k":"a\"b"}] list of object
        csvdecode("a,b,\n1,2,\n") => [{"":"","a":"1","b":"2"}] list of object
        csvdecode("a\n \n\"\"\n;c\n") => [{"a":" "},{"a":""},{"a":";c"}] list of object
        csvdecode("a") => [] list of object
        "#,
    );
}

#[test]
fn dates_as_in_go() {
    // Recorded from Go's cty; what takes a blank before the time is newer.
    check(
        r#"
        formatdate("YYYY ''YY", "2031-03-04T05:06:07Z") => "2031 '31" string
        formatdate("'''''x'YY''", "2031-03-04T05:06:07Z") => "''x31'" string
        formatdate("'a''b'", "2031-03-04T05:06:07Z") => "a'b" string
        formatdate("'a''", "2031-03-04T05:06:07Z") => "a'" string
        formatdate("'''", "2031-03-04T05:06:07Z") => ERR Invalid function argument
        formatdate("''a", "2031-03-04T05:06:07Z") => ERR Invalid function argument
        timeadd("2029-03-04T5:06:07,5Z", "1h") => "2029-03-04T06:06:07Z" string
        timeadd("2029-03-04T05:06:07.Z", "1h") => ERR Invalid function argument
        timeadd("2029-03-04T23:59:60Z", "1h") => ERR Invalid function argument
        timeadd("2029-02-29T00:00:00Z", "1h") => ERR Invalid function argument
        timeadd("2029-03-04T05:06:07+23:60", "1h") => "2029-03-04T06:06:07+24:00" string
        timeadd("9999-12-31T23:59:59-10:00", "-1h") => "9999-12-31T22:59:59-10:00" string
        timeadd("2029-03-04 05:06:07Z", "1h") => ERR Invalid function argument
        rfc3339_parse("2029-03-04 05:06:07Z").unix => 1867295167 number
        rfc3339_parse("2029-03-04 05:06:07.5+02:00").unix => 1867287967 number
        rfc3339_parse("2029-03-04t05:06:07z") => ERR Invalid function argument
        rfc3339_parse("2029-03-04_05:06:07Z") => ERR Invalid function argument
        unix_timestamp_parse("2029-03-04T05:06:07+02:00").rfc3339 => "2029-03-04T03:06:07Z" string
        unix_timestamp_parse(1867287967).rfc3339 => "2029-03-04T03:06:07Z" string
        unix_timestamp_parse("2029-03-04") => ERR Invalid function argument
        unix_timestamp_parse(1.5) => ERR Invalid function argument
        unix_timestamp_parse(100000000000000000000) => ERR Invalid function argument
        "#,
    );
}

#[test]
fn sets_and_networks_as_in_packer() {
    check(
        r#"
        setunion(convert([false],set(bool)), convert([],set(string))) => ["false"] set of string
        setunion(convert([],set(string)), convert([],set(number))) => [] set of string
        setunion(convert([1],set(number)), convert([],set(bool))) => ERR Error in function call
        setunion(convert([],list(string)), [1]) => ["1"] set of string
        setunion(convert(convert([],set(string)),set(any)), [1]) => ["1"] set of string
        setunion([], [1]) => [1] set of number
        setunion([], []) => [] set of dynamic
        cidrnetmask("fd20::/48") => "ffff:ffff:ffff::" string
        cidrnetmask("::/0") => "::" string
        cidrnetmask("::ffff:10.0.0.0/112") => "ffff:ffff:ffff:ffff:ffff:ffff:ffff:0" string
        cidrsubnet("::ffff:10.20.0.0/112", 4, 3) => "10.20.48.0/20" string
        cidrsubnet("::fffe:0:0/95", 1, 1) => "0.0.0.0/0" string
        cidrsubnet("::ffff:10.20.0.0/94", 1, 1) => "::fffe:0:0/95" string
        cidrhost("::ffff:10.20.0.0/112", 4) => "10.20.0.4" string
        cidrhost("10.0.0.0/08", 1) => "10.0.0.1" string
        cidrhost("010.0.0.0/8", 1) => ERR Invalid function argument
        cidrhost("10.0.0.0/+8", 1) => ERR Invalid function argument
        cidrhost("10.0.0.0/33", 1) => ERR Invalid function argument
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

#[test]
fn every_function_has_one_row() {
    let names: Vec<&str> = super::names().collect();
    let distinct: std::collections::BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(names.len(), distinct.len());
    assert!(names.iter().all(|name| super::find(name).is_some_and(|row| row.name == *name)));
    assert!(
        super::derives("upper") && super::derives("sha256") && !super::derives("concat") && !super::derives("nope")
    );
}
