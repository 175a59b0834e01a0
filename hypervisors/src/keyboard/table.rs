//! The keys and their numbers. QEMU's names are the QKeyCode values of its QMP schema; scan codes are IBM PC/XT set 1 (what
//! VirtualBox's `keyboardputscancode` takes); keysyms are those of X11's `keysymdef.h` (what VNC takes).

/// Bit that says a set 1 code is sent with the prefix `e0`.
const EXTENDED: u16 = 0xe000;

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident, $qcode:literal, $scan:literal $($ext:ident)?, $keysym:literal, $characters:expr, [$($alias:literal),*];)+) => {
        /// A physical key of a US keyboard.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Key { $($(#[$doc])* $name,)+ }

        pub(super) const ALL: &[Key] = &[$(Key::$name,)+];

        impl Key {
            /// QEMU's name of the key (QKeyCode).
            pub const fn qcode(self) -> &'static str {
                match self { $(Self::$name => $qcode,)+ }
            }

            const fn set1(self) -> u16 {
                match self { $(Self::$name => $scan $(| $ext)?,)+ }
            }

            /// X11 keysym of the key without Shift; with Shift, the character's code is the keysym.
            pub const fn keysym(self) -> u32 {
                match self { $(Self::$name => $keysym,)+ }
            }

            /// What the key types without and with Shift, if it types anything visible.
            pub(super) const fn characters(self) -> Option<(char, char)> {
                match self { $(Self::$name => $characters,)+ }
            }

            /// Finds the key that a boot command calls `<name>`, without regard to case: `enter`, `leftShift`, `f1`.
            pub fn from_boot_command_name(name: &str) -> Option<Self> {
                let name = name.to_ascii_lowercase();
                match name.as_str() { $($($alias => Some(Self::$name),)*)+ _ => None }
            }
        }
    };
}

keys! {
    /// Escape.
    Escape, "esc", 0x01, 0xff1b, None, ["esc"];
    /// `1` `!`.
    Digit1, "1", 0x02, 0x31, Some(('1', '!')), [];
    /// `2` `@`.
    Digit2, "2", 0x03, 0x32, Some(('2', '@')), [];
    /// `3` `#`.
    Digit3, "3", 0x04, 0x33, Some(('3', '#')), [];
    /// `4` `$`.
    Digit4, "4", 0x05, 0x34, Some(('4', '$')), [];
    /// `5` `%`.
    Digit5, "5", 0x06, 0x35, Some(('5', '%')), [];
    /// `6` `^`.
    Digit6, "6", 0x07, 0x36, Some(('6', '^')), [];
    /// `7` `&`.
    Digit7, "7", 0x08, 0x37, Some(('7', '&')), [];
    /// `8` `*`.
    Digit8, "8", 0x09, 0x38, Some(('8', '*')), [];
    /// `9` `(`.
    Digit9, "9", 0x0a, 0x39, Some(('9', '(')), [];
    /// `0` `)`.
    Digit0, "0", 0x0b, 0x30, Some(('0', ')')), [];
    /// `-` `_`.
    Minus, "minus", 0x0c, 0x2d, Some(('-', '_')), [];
    /// `=` `+`.
    Equal, "equal", 0x0d, 0x3d, Some(('=', '+')), [];
    /// Backspace.
    Backspace, "backspace", 0x0e, 0xff08, None, ["bs"];
    /// Tab.
    Tab, "tab", 0x0f, 0xff09, None, ["tab"];
    /// `q`.
    Q, "q", 0x10, 0x71, Some(('q', 'Q')), [];
    /// `w`.
    W, "w", 0x11, 0x77, Some(('w', 'W')), [];
    /// `e`.
    E, "e", 0x12, 0x65, Some(('e', 'E')), [];
    /// `r`.
    R, "r", 0x13, 0x72, Some(('r', 'R')), [];
    /// `t`.
    T, "t", 0x14, 0x74, Some(('t', 'T')), [];
    /// `y`.
    Y, "y", 0x15, 0x79, Some(('y', 'Y')), [];
    /// `u`.
    U, "u", 0x16, 0x75, Some(('u', 'U')), [];
    /// `i`.
    I, "i", 0x17, 0x69, Some(('i', 'I')), [];
    /// `o`.
    O, "o", 0x18, 0x6f, Some(('o', 'O')), [];
    /// `p`.
    P, "p", 0x19, 0x70, Some(('p', 'P')), [];
    /// `[` `{`.
    BracketLeft, "bracket_left", 0x1a, 0x5b, Some(('[', '{')), [];
    /// `]` `}`.
    BracketRight, "bracket_right", 0x1b, 0x5d, Some((']', '}')), [];
    /// Enter.
    Enter, "ret", 0x1c, 0xff0d, None, ["enter", "return"];
    /// Left Control.
    ControlLeft, "ctrl", 0x1d, 0xffe3, None, ["leftctrl"];
    /// `a`.
    A, "a", 0x1e, 0x61, Some(('a', 'A')), [];
    /// `s`.
    S, "s", 0x1f, 0x73, Some(('s', 'S')), [];
    /// `d`.
    D, "d", 0x20, 0x64, Some(('d', 'D')), [];
    /// `f`.
    F, "f", 0x21, 0x66, Some(('f', 'F')), [];
    /// `g`.
    G, "g", 0x22, 0x67, Some(('g', 'G')), [];
    /// `h`.
    H, "h", 0x23, 0x68, Some(('h', 'H')), [];
    /// `j`.
    J, "j", 0x24, 0x6a, Some(('j', 'J')), [];
    /// `k`.
    K, "k", 0x25, 0x6b, Some(('k', 'K')), [];
    /// `l`.
    L, "l", 0x26, 0x6c, Some(('l', 'L')), [];
    /// `;` `:`.
    Semicolon, "semicolon", 0x27, 0x3b, Some((';', ':')), [];
    /// `'` `"`.
    Apostrophe, "apostrophe", 0x28, 0x27, Some(('\'', '"')), [];
    /// `` ` `` `~`.
    Grave, "grave_accent", 0x29, 0x60, Some(('`', '~')), [];
    /// Left Shift.
    ShiftLeft, "shift", 0x2a, 0xffe1, None, ["leftshift"];
    /// `\` `|`.
    Backslash, "backslash", 0x2b, 0x5c, Some(('\\', '|')), [];
    /// `z`.
    Z, "z", 0x2c, 0x7a, Some(('z', 'Z')), [];
    /// `x`.
    X, "x", 0x2d, 0x78, Some(('x', 'X')), [];
    /// `c`.
    C, "c", 0x2e, 0x63, Some(('c', 'C')), [];
    /// `v`.
    V, "v", 0x2f, 0x76, Some(('v', 'V')), [];
    /// `b`.
    B, "b", 0x30, 0x62, Some(('b', 'B')), [];
    /// `n`.
    N, "n", 0x31, 0x6e, Some(('n', 'N')), [];
    /// `m`.
    M, "m", 0x32, 0x6d, Some(('m', 'M')), [];
    /// `,` `<`.
    Comma, "comma", 0x33, 0x2c, Some((',', '<')), [];
    /// `.` `>`.
    Period, "dot", 0x34, 0x2e, Some(('.', '>')), [];
    /// `/` `?`.
    Slash, "slash", 0x35, 0x2f, Some(('/', '?')), [];
    /// Right Shift.
    ShiftRight, "shift_r", 0x36, 0xffe2, None, ["rightshift"];
    /// Left Alt.
    AltLeft, "alt", 0x38, 0xffe9, None, ["leftalt", "leftoption"];
    /// Blank.
    Space, "spc", 0x39, 0x20, None, ["spacebar"];
    /// F1.
    F1, "f1", 0x3b, 0xffbe, None, ["f1"];
    /// F2.
    F2, "f2", 0x3c, 0xffbf, None, ["f2"];
    /// F3.
    F3, "f3", 0x3d, 0xffc0, None, ["f3"];
    /// F4.
    F4, "f4", 0x3e, 0xffc1, None, ["f4"];
    /// F5.
    F5, "f5", 0x3f, 0xffc2, None, ["f5"];
    /// F6.
    F6, "f6", 0x40, 0xffc3, None, ["f6"];
    /// F7.
    F7, "f7", 0x41, 0xffc4, None, ["f7"];
    /// F8.
    F8, "f8", 0x42, 0xffc5, None, ["f8"];
    /// F9.
    F9, "f9", 0x43, 0xffc6, None, ["f9"];
    /// F10.
    F10, "f10", 0x44, 0xffc7, None, ["f10"];
    /// F11.
    F11, "f11", 0x57, 0xffc8, None, ["f11"];
    /// F12.
    F12, "f12", 0x58, 0xffc9, None, ["f12"];
    /// Right Control.
    ControlRight, "ctrl_r", 0x1d EXTENDED, 0xffe4, None, ["rightctrl"];
    /// Right Alt.
    AltRight, "alt_r", 0x38 EXTENDED, 0xffea, None, ["rightalt", "rightoption"];
    /// Home.
    Home, "home", 0x47 EXTENDED, 0xff50, None, ["home"];
    /// Cursor up.
    ArrowUp, "up", 0x48 EXTENDED, 0xff52, None, ["up"];
    /// Page up.
    PageUp, "pgup", 0x49 EXTENDED, 0xff55, None, ["pageup"];
    /// Cursor left.
    ArrowLeft, "left", 0x4b EXTENDED, 0xff51, None, ["left"];
    /// Cursor right.
    ArrowRight, "right", 0x4d EXTENDED, 0xff53, None, ["right"];
    /// End.
    End, "end", 0x4f EXTENDED, 0xff57, None, ["end"];
    /// Cursor down.
    ArrowDown, "down", 0x50 EXTENDED, 0xff54, None, ["down"];
    /// Page down.
    PageDown, "pgdn", 0x51 EXTENDED, 0xff56, None, ["pagedown"];
    /// Insert.
    Insert, "insert", 0x52 EXTENDED, 0xff63, None, ["insert"];
    /// Delete.
    Delete, "delete", 0x53 EXTENDED, 0xffff, None, ["del"];
    /// Left Super (Windows, Command).
    SuperLeft, "meta_l", 0x5b EXTENDED, 0xffeb, None, ["leftsuper", "leftcommand"];
    /// Right Super (Windows, Command).
    SuperRight, "meta_r", 0x5c EXTENDED, 0xffec, None, ["rightsuper", "rightcommand"];
    /// Menu.
    Menu, "compose", 0x5d EXTENDED, 0xff67, None, ["menu"];
}

impl Key {
    /// Scan codes of set 1 for the key going down or up: one byte, or `e0` and one byte.
    pub fn scan_codes(self, down: bool) -> impl Iterator<Item = u8> {
        let code = self.set1();
        let release = if down { 0 } else { 0x80 };
        let prefix = (code & EXTENDED != 0).then_some(0xe0);
        prefix.into_iter().chain([(code & 0x7f) as u8 | release])
    }

    /// X11 keysym of the key, with Shift held if `shift`: that of the character it types then.
    pub(crate) fn keysym_with(self, shift: bool) -> u32 {
        self.characters().filter(|_| shift).map_or(self.keysym(), |(_, shifted)| u32::from(shifted))
    }

    /// Tells whether the key types a visible character.
    pub(crate) const fn types_character(self) -> bool {
        self.characters().is_some()
    }

    /// Bytes a PS/2 keyboard sends to its controller for the key going down or up (set 2: releases carry the prefix `f0`).
    pub(crate) fn ps2_bytes(self, down: bool) -> usize {
        1 + usize::from(self.set1() & EXTENDED != 0) + usize::from(!down)
    }
}
