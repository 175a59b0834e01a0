//! RC4, with which NTLM seals messages and hides its session key.

/// A stream of key bytes, from where it was left.
pub(super) struct Rc4 {
    state: [u8; 256],
    i: u8,
    j: u8,
}

impl Rc4 {
    /// Begins the stream of `key`, which is not empty.
    pub(super) fn new(key: &[u8]) -> Self {
        let mut state = [0; 256];
        for (at, byte) in state.iter_mut().enumerate() {
            *byte = at as u8;
        }
        let mut j = 0u8;
        for at in 0..256 {
            j = j.wrapping_add(state[at]).wrapping_add(key[at % key.len()]);
            state.swap(at, usize::from(j));
        }
        Self { state, i: 0, j: 0 }
    }

    /// Encrypts or decrypts in place.
    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.i = self.i.wrapping_add(1);
            self.j = self.j.wrapping_add(self.state[usize::from(self.i)]);
            self.state.swap(usize::from(self.i), usize::from(self.j));
            let at = self.state[usize::from(self.i)].wrapping_add(self.state[usize::from(self.j)]);
            *byte ^= self.state[usize::from(at)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hex::hex;
    use super::Rc4;

    #[test]
    fn the_stream_is_that_of_rfc_6229() {
        let mut bytes = [0; 16];
        Rc4::new(&[1, 2, 3, 4, 5]).apply(&mut bytes);
        assert_eq!(hex(&bytes), "b2396305f03dc027ccc3524a0a1118a8");
    }

    #[test]
    fn what_is_applied_twice_is_undone() {
        let mut text = *b"attack at dawn";
        Rc4::new(b"key").apply(&mut text);
        assert_ne!(&text, b"attack at dawn");
        Rc4::new(b"key").apply(&mut text);
        assert_eq!(&text, b"attack at dawn");
    }
}
