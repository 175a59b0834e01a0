//! Owns the functions on IP networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dashu_int::IBig;
use ipnet::IpNet;

use super::table::{Answer, Call, Failure, Function, function, number, text};
use crate::language::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("cidrhost", &[text("prefix"), number("hostnum")], host),
    function("cidrnetmask", &[text("prefix")], netmask),
    function("cidrsubnet", &[text("prefix"), number("newbits"), number("netnum")], subnet),
    function("cidrsubnets", &[text("prefix")], subnets).rest(number("newbits")),
];

fn network(call: &Call<'_>) -> Result<IpNet, Failure> {
    let given = call.text(0);
    let wrong = || Failure::at(0, format!("invalid CIDR expression: invalid CIDR address: {given}"));
    // ipnet itself would take 010 for 10.
    let parsed = given.split_once('/').and_then(|(address, prefix)| {
        let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        IpNet::new(address.parse().ok()?, digits.then(|| prefix.parse().ok())??).ok()
    });
    Ok(parsed.ok_or_else(wrong)?.trunc())
}

fn bits(net: &IpNet) -> u8 {
    if net.addr().is_ipv4() { 32 } else { 128 }
}

fn address_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn address(number: u128, bits: u8) -> IpAddr {
    if bits == 32 {
        IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(number))
    }
}

fn whole(call: &Call<'_>, index: usize) -> Result<IBig, Failure> {
    let value = call.number(index).to_integer();
    value.ok_or_else(|| Failure::at(index, "value must be a whole number"))
}

fn host(call: &Call<'_>) -> Answer {
    let net = network(call)?;
    let wanted = whole(call, 1)?;
    let host_bits = u32::from(bits(&net) - net.prefix_len());
    let space = IBig::ONE << host_bits as usize;
    let offset = if wanted < IBig::ZERO { &space + &wanted } else { wanted.clone() };
    if offset < IBig::ZERO || offset >= space {
        let message = format!("prefix of {} does not accommodate a host numbered {wanted}", net.prefix_len());
        return Err(Failure::new(message));
    }
    let offset = u128::try_from(&offset).unwrap_or(u128::MAX);
    let number = address_number(net.network()).wrapping_add(offset);
    Ok(address(number, bits(&net)).to_canonical().to_string().into())
}

fn netmask(call: &Call<'_>) -> Answer {
    Ok(network(call)?.netmask().to_string().into())
}

/// Writes a network as Go does: one of IPv4 inside of IPv6 is one of IPv4.
fn written(net: &IpNet) -> String {
    match (net.addr().to_canonical(), net.prefix_len()) {
        (address @ IpAddr::V4(_), prefix @ 96..) => format!("{address}/{}", prefix - 96),
        _ => net.to_string(),
    }
}

fn make_subnet(net: &IpNet, prefix: u8, number: u128) -> Result<IpNet, Failure> {
    let shift = u32::from(bits(net) - prefix);
    let offset = if shift == 128 { 0 } else { number << shift };
    let start = address(address_number(net.network()) + offset, bits(net));
    IpNet::new(start, prefix).map_err(|error| Failure::new(error.to_string()))
}

fn subnet(call: &Call<'_>) -> Answer {
    let net = network(call)?;
    let new_bits = call.integer(1)?;
    let number = whole(call, 2)?;
    let extra = u8::try_from(new_bits).ok().and_then(|extra| net.prefix_len().checked_add(extra));
    let Some(prefix) = extra.filter(|prefix| *prefix <= bits(&net)) else {
        let message = format!("insufficient address space to extend prefix of {} by {new_bits}", net.prefix_len());
        return Err(Failure::new(message));
    };
    let space = IBig::ONE << usize::from(prefix - net.prefix_len());
    let wanted = if number < IBig::ZERO { &space + &number } else { number.clone() };
    if wanted < IBig::ZERO || wanted >= space {
        let message = format!("prefix extension of {new_bits} does not accommodate a subnet numbered {number}");
        return Err(Failure::new(message));
    }
    Ok(written(&make_subnet(&net, prefix, u128::try_from(&wanted).unwrap_or(0))?).into())
}

fn subnets(call: &Call<'_>) -> Answer {
    let net = network(call)?;
    let mut made = Vec::new();
    // Addresses used up so far, from the start of the network.
    let mut used: u128 = 0;
    let mut full = false;
    for index in 1..call.arguments.len() {
        let new_bits = call.integer(index)?;
        if new_bits < 1 {
            return Err(Failure::at(index, "must extend prefix by at least one bit"));
        }
        if new_bits > 32 {
            return Err(Failure::at(index, "may not extend prefix by more than 32 bits"));
        }
        let extra = u8::try_from(new_bits).unwrap_or(u8::MAX);
        let prefix = net.prefix_len().checked_add(extra).filter(|prefix| *prefix <= bits(&net));
        let Some(prefix) = prefix else {
            let message = format!(
                "would extend prefix to {} bits, which is too long for an address of this kind",
                i64::from(net.prefix_len()) + new_bits
            );
            return Err(Failure::at(index, message));
        };
        let size_bits = u32::from(bits(&net) - prefix);
        let size = 1u128 << size_bits;
        let start = used.div_ceil(size).checked_mul(size);
        let limit = 1u128.checked_shl(u32::from(bits(&net) - net.prefix_len()));
        let start = start.filter(|start| !full && limit.is_none_or(|limit| *start < limit));
        let Some(start) = start else {
            return Err(Failure::at(index, "not enough remaining address space for a subnet with this prefix"));
        };
        let first = address(address_number(net.network()).wrapping_add(start), bits(&net));
        let subnet = IpNet::new(first, prefix).map_err(|error| Failure::new(error.to_string()))?;
        made.push(written(&subnet));
        match start.checked_add(size) {
            Some(next) => used = next,
            None => full = true,
        }
    }
    Ok(Value::list_of_strings(made))
}
