//! kilnd. 
fn main() {}
