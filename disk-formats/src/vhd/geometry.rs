//! Cylinders, heads and sectors, by the specification's algorithm (appendix "CHS Calculation").

/// Returns the geometry that the specification derives from a size in bytes.
pub(crate) fn geometry(size: u64) -> (u16, u8, u8) {
    let total = (size / 512).min(65535 * 16 * 255);
    let (sectors, heads, cylinder_times_heads);
    if total >= 65535 * 16 * 63 {
        (sectors, heads) = (255, 16);
        cylinder_times_heads = total / 255;
    } else {
        let mut s = 17;
        let mut cth = total / s;
        let mut h = cth.div_ceil(1024).max(4);
        if cth >= h * 1024 || h > 16 {
            (s, h) = (31, 16);
            cth = total / s;
        }
        if cth >= h * 1024 {
            (s, h) = (63, 16);
            cth = total / s;
        }
        (sectors, heads, cylinder_times_heads) = (s, h, cth);
    }
    ((cylinder_times_heads / heads) as u16, heads as u8, sectors as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sizes_have_known_geometries() {
        assert_eq!(geometry(64 << 20), (963, 8, 17));
        assert_eq!(geometry(8 << 30), (16644, 16, 63));
        assert_eq!(geometry(2 << 40), (65535, 16, 255));
        assert_eq!(geometry(0), (0, 4, 17));
    }
}
