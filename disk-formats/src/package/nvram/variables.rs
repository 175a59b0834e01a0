//! UEFI's variables as every maker's firmware knows them, whatever their store looks like on disk.

use std::fmt;

/// Most of a store that is looked at, in bytes: AAVMF's file has 64 MiB, of which the store is the first.
pub(super) const MAX_STORE: usize = 4 << 20;

/// Most variables that are read of one store. Firmware has some dozens, and hundreds of dead ones between two clean-ups.
pub(super) const MAX_VARIABLES: usize = 8192;

/// Kept over a reset; seen by boot loaders; seen by the running system. What all boot entries have.
pub(super) const NON_VOLATILE: u32 = 1;
pub(super) const BOOT_SERVICE: u32 = 2;
pub(super) const RUNTIME: u32 = 4;
/// Written only with a signature that is newer than the last one.
pub(super) const TIME_BASED_AUTHENTICATED: u32 = 0x20;

/// Whose variable it is, as it stands on disk: the first three fields little-endian.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner(pub(super) [u8; 16]);

impl Owner {
    /// `8be4df61-93ca-11d2-aa0d-00e098032b8c`: UEFI itself, which owns boot entries, PK and KEK.
    pub(super) const UEFI: Self =
        Self([0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c]);
    /// `d719b2cb-3d3a-4596-a3bc-dad00e67656f`: what may be started under secure boot, `db` and `dbx`.
    pub(super) const IMAGE_SECURITY: Self =
        Self([0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f]);
    /// `f0a30bc7-af08-4556-99c4-001009c93a44`: EDK II's switch of secure boot.
    pub(super) const EDK2_SWITCH: Self =
        Self([0xc7, 0x0b, 0xa3, 0xf0, 0x08, 0xaf, 0x56, 0x45, 0x99, 0xc4, 0x00, 0x10, 0x09, 0xc9, 0x3a, 0x44]);
    /// `605dab50-e046-4300-abb6-3dd810dd8b23`: shim, the loader that Linux distributions sign.
    pub(super) const SHIM: Self =
        Self([0x50, 0xab, 0x5d, 0x60, 0x46, 0xe0, 0x00, 0x43, 0xab, 0xb6, 0x3d, 0xd8, 0x10, 0xdd, 0x8b, 0x23]);
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variable {
    /// Without the zero at its end.
    pub(super) name: String,
    pub(super) owner: Owner,
    pub(super) attributes: u32,
    /// When what an authenticated variable holds was signed, as an `EFI_TIME`; zeroes where nobody knows.
    pub(super) signed_at: [u8; 16],
    pub(super) data: Vec<u8>,
}

impl Variable {
    /// Whether it is this variable.
    pub(super) fn is(&self, owner: Owner, name: &str) -> bool {
        self.owner == owner && self.name == name
    }

    /// The name in UTF-16 with a zero at its end.
    pub(super) fn name_on_disk(&self) -> Vec<u8> {
        self.name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
    }
}

/// Reads a name in UTF-16 up to a zero; `None` when it is empty or none.
pub(super) fn name_of(bytes: &[u8]) -> Option<String> {
    let units = bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).take_while(|unit| *unit != 0);
    let name: String = char::decode_utf16(units).collect::<Result<_, _>>().ok()?;
    Some(name).filter(|name| !name.is_empty())
}

/// A number of four bytes, little-endian; `None` behind the end.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    Some(u32::from_le_bytes(bytes.get(at..end)?.try_into().ok()?))
}

/// The same as a length.
pub(super) fn length(bytes: &[u8], at: usize) -> Option<usize> {
    number(bytes, at).and_then(|length| usize::try_from(length).ok())
}

/// Sixteen bytes; `None` behind the end.
pub(super) fn sixteen(bytes: &[u8], at: usize) -> Option<[u8; 16]> {
    let end = at.checked_add(16)?;
    bytes.get(at..end)?.try_into().ok()
}

/// Adds a variable in the place of an older one of its name.
pub(super) fn put(variables: &mut Vec<Variable>, variable: Variable) {
    match variables.iter_mut().find(|other| other.is(variable.owner, &variable.name)) {
        Some(older) => *older = variable,
        None => variables.push(variable),
    }
}
