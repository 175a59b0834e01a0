//! kiln. 
fn main() {}
