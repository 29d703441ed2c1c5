//! PASSWORD-ALGORITHMS and PASSWORD-ALGORITHM (RFC 8489 §14.11, §14.12).

use shared::PasswordAlgorithm;

/// Bytes of one algorithm: number and length of its parameters, of which none has any.
const ENTRY: usize = 4;

/// The value of PASSWORD-ALGORITHMS for a list in order of preference.
#[must_use]
pub fn list(algorithms: &[PasswordAlgorithm]) -> Vec<u8> {
    algorithms.iter().flat_map(|one| entry(*one)).collect()
}

/// The value of PASSWORD-ALGORITHM, which is one entry of the list.
#[must_use]
pub fn entry(algorithm: PasswordAlgorithm) -> [u8; ENTRY] {
    let [high, low] = algorithm.number().to_be_bytes();
    [high, low, 0, 0]
}

/// Reads a PASSWORD-ALGORITHM; `None`: one that we do not know, or parameters where there are none.
#[must_use]
pub fn read(value: &[u8]) -> Option<PasswordAlgorithm> {
    PasswordAlgorithm::ALL
        .into_iter()
        .find(|one| entry(*one) == value)
}

/// Reads a PASSWORD-ALGORITHMS, entry by entry; those that we do not know are left out, and what
/// follows a broken entry too.
pub fn read_list(mut value: &[u8]) -> impl Iterator<Item = PasswordAlgorithm> + '_ {
    let next = move || {
        let (&[_, _, l0, l1], _) = value.split_first_chunk::<ENTRY>()?;
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let (one, rest) = value.split_at_checked(ENTRY + len.next_multiple_of(ENTRY))?;
        value = rest;
        Some(read(&one[..ENTRY + len]))
    };
    std::iter::from_fn(next).flatten()
}
