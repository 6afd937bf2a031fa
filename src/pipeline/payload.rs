//! Values that are compressed themselves, whatever Kafka does with batches.

use std::io::Read;

use flate2::read::MultiGzDecoder;

use crate::config::Compression;
use crate::decode::{Reason, Reject};

/// A value may become this large, however small it came.
const BYTES_MAX: usize = 64 << 20;
/// Room that is kept for the next value.
const KEPT_BYTES_MAX: usize = 4 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Memory of one decoder: windows of 128 MiB and more are refused.
const ZSTD_WINDOW_LOG_MAX: u32 = 26;

/// Unpacks the values of one lane.
#[derive(Debug)]
pub(crate) struct Payload {
    compression: Compression,
    unpacked: Vec<u8>,
}

impl Payload {
    pub(crate) fn new(compression: Compression) -> Self {
        Payload {
            compression,
            unpacked: vec![],
        }
    }

    /// The value as it was before it was compressed.
    ///
    /// # Errors
    /// `invalid_compression`, and `too_large` for one of more than 64 MiB.
    #[inline(always)]
    pub(crate) fn open<'v>(
        &'v mut self,
        value: Option<&'v [u8]>,
    ) -> Result<Option<&'v [u8]>, Reject> {
        match (value, self.compression) {
            (None, _) | (_, Compression::None) => Ok(value),
            (Some(value), _) => self.unpack(value).map(Some),
        }
    }

    /// Gives back the room of a large value.
    pub(crate) fn trim(&mut self) {
        if self.unpacked.capacity() > KEPT_BYTES_MAX {
            self.unpacked = vec![];
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.unpacked.capacity()
    }

    fn unpack<'v>(&'v mut self, value: &'v [u8]) -> Result<&'v [u8], Reject> {
        let name = match self.compression {
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Auto if value.starts_with(&GZIP) => "gzip",
            Compression::Auto if value.starts_with(&ZSTD) => "zstd",
            Compression::Auto | Compression::None => return Ok(value),
        };
        self.unpacked.clear();
        self.unpacked.shrink_to(KEPT_BYTES_MAX);
        let unpacked = match name {
            "gzip" => read(MultiGzDecoder::new(value), &mut self.unpacked),
            _ => zstd(value, &mut self.unpacked),
        };
        match unpacked {
            Ok(()) if self.unpacked.len() > BYTES_MAX => {
                let detail = format!("the value has more than {BYTES_MAX} bytes behind its {name}");
                Err(Reject::new(Reason::TooLarge, detail))
            }
            Ok(()) => Ok(&self.unpacked),
            Err(error) => Err(garbage(value, name, &error)),
        }
    }
}

fn zstd(value: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(value)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    read(decoder, out)
}

fn read(decoder: impl Read, out: &mut Vec<u8>) -> std::io::Result<()> {
    let limit = BYTES_MAX as u64 + 1;
    decoder.take(limit).read_to_end(out).map(|_| ())
}

#[cold]
fn garbage(value: &[u8], name: &str, error: &std::io::Error) -> Reject {
    let hint = match value.first() {
        Some(b'{' | b'[') => {
            ": the value begins as JSON does, if that is right set compression = \"none\" or \"auto\""
        }
        _ => "",
    };
    let detail = format!("no {name}: {error}{hint}");
    Reject::new(Reason::InvalidCompression, detail)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(vec![], flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn open(compression: Compression, value: &[u8]) -> Result<Vec<u8>, String> {
        let mut payload = Payload::new(compression);
        let opened = payload.open(Some(value));
        opened
            .map(|value| value.unwrap().to_vec())
            .map_err(|reject| reject.to_string())
    }

    #[test]
    fn values_come_back_as_they_were_and_auto_knows_them_by_their_first_bytes() {
        let (text, long) = (b"{\"a\":1}".to_vec(), vec![b'x'; 1 << 20]);
        for value in [&text, &long] {
            let zstd = zstd::stream::encode_all(&value[..], 3).unwrap();
            for (compression, packed) in [
                (Compression::None, value.clone()),
                (Compression::Gzip, gzip(value)),
                (
                    Compression::Gzip,
                    [gzip(&value[..3]), gzip(&value[3..])].concat(),
                ),
                (Compression::Zstd, zstd.clone()),
                (Compression::Auto, gzip(value)),
                (Compression::Auto, zstd),
                (Compression::Auto, value.clone()),
            ] {
                assert_eq!(
                    open(compression, &packed).as_ref(),
                    Ok(value),
                    "{compression:?}"
                );
            }
        }
        assert_eq!(Payload::new(Compression::Gzip).open(None), Ok(None));
    }

    #[test]
    fn the_room_of_a_large_value_is_given_back() {
        let mut payload = Payload::new(Compression::Gzip);
        payload.open(Some(&gzip(b"{}"))).unwrap();
        payload.trim();
        assert!(payload.memory_bytes() >= 2);
        let large = gzip(&vec![b'x'; KEPT_BYTES_MAX + 1]);
        payload.open(Some(&large)).unwrap();
        assert!(payload.memory_bytes() > KEPT_BYTES_MAX);
        payload.trim();
        assert_eq!(payload.memory_bytes(), 0);
    }

    #[test]
    fn garbage_is_refused_and_a_bomb_ends_at_the_limit() {
        let cut = &gzip(b"{\"a\":1}")[..12];
        for (compression, value) in [
            (Compression::Gzip, &b"{\"a\":1}"[..]),
            (Compression::Gzip, b""),
            (Compression::Gzip, cut),
            (Compression::Auto, cut),
            (Compression::Zstd, b"{\"a\":1}"),
            (Compression::Auto, b"\x28\xb5\x2f\xfd\xff\xff"),
        ] {
            let error = open(compression, value).unwrap_err();
            assert!(error.starts_with("invalid_compression: no "), "{error}");
        }
        let bomb = gzip(&vec![0; BYTES_MAX + 2]);
        assert!(bomb.len() < BYTES_MAX / 100);
        let error = open(Compression::Auto, &bomb).unwrap_err();
        assert!(error.starts_with("too_large: "), "{error}");
        let bomb = zstd::stream::encode_all(&vec![0; BYTES_MAX + 2][..], 1).unwrap();
        let error = open(Compression::Zstd, &bomb).unwrap_err();
        assert!(error.starts_with("too_large: "), "{error}");
    }
}
