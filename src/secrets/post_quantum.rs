//! age's post-quantum keys (`age1pq1...`, `AGE-SECRET-KEY-PQ-1...`): the stanza `mlkem768x25519`, which is HPKE in base mode
//! (RFC 9180) with the hybrid KEM MLKEM768-X25519 (X-Wing), HKDF-SHA256 and ChaCha20Poly1305.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use age::secrecy::ExposeSecret as _;
use age_core::format::{FILE_KEY_BYTES, FileKey, Stanza};
use age_core::primitives::{bech32_decode, bech32_encode};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bech32::Hrp;
use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use hmac::{Hmac, Mac as _};
use ml_kem::kem::Decapsulate as _;
use ml_kem::{B32, EncapsulateDeterministic as _, EncodedSizeUser as _, KemCore as _, MlKem768};
use sha2::Sha256;
use sha3::digest::{ExtendableOutput as _, XofReader as _};
use sha3::{Digest as _, Sha3_256, Shake256};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

const TAG: &str = "mlkem768x25519";
const INFO: &[u8] = b"age-encryption.org/mlkem768x25519";
const RECIPIENT: Hrp = Hrp::parse_unchecked("age1pq");
const IDENTITY: Hrp = Hrp::parse_unchecked("age-secret-key-pq-");
/// X-Wing's label, a drawing.
const LABEL: &[u8] = b"\\.//^\\";
/// HPKE's suite: KEM 0x647a, KDF HKDF-SHA256, AEAD ChaCha20Poly1305.
const SUITE: &[u8] = b"HPKE\x64\x7a\x00\x01\x00\x03";
const KEM_KEY: usize = 1184;
const KEM_CIPHERTEXT: usize = 1088;

type Decapsulation = <MlKem768 as ml_kem::KemCore>::DecapsulationKey;
type Encapsulation = <MlKem768 as ml_kem::KemCore>::EncapsulationKey;

/// Who can read a file: the public half.
#[derive(Clone)]
pub struct Recipient {
    kem: Encapsulation,
    curve: PublicKey,
}

/// The private half, a seed.
#[derive(Clone)]
pub struct Identity {
    seed: Zeroizing<[u8; 32]>,
    kem: Decapsulation,
    curve: StaticSecret,
    public: Recipient,
}

impl Identity {
    /// A new one.
    pub fn generate() -> Self {
        Self::from_seed(Zeroizing::new(rand::random()))
    }

    fn from_seed(seed: Zeroizing<[u8; 32]>) -> Self {
        let mut expanded = Zeroizing::new([0; 96]);
        let mut shake = Shake256::default();
        sha3::digest::Update::update(&mut shake, &*seed);
        shake.finalize_xof().read(&mut *expanded);
        let part = |at: usize| Zeroizing::new(<[u8; 32]>::try_from(&expanded[at..at + 32]).unwrap_or_default());
        let (d, z, t) = (part(0), part(32), part(64));
        let (kem, public) = MlKem768::generate_deterministic(&B32::from(*d), &B32::from(*z));
        let curve = StaticSecret::from(*t);
        let public = Recipient { kem: public, curve: PublicKey::from(&curve) };
        Identity { seed, kem, curve, public }
    }

    /// The public half.
    pub fn to_public(&self) -> Recipient {
        self.public.clone()
    }

    /// The text that is kept in an identity file.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(bech32_encode(IDENTITY, &*self.seed).to_uppercase())
    }

    fn decapsulate(&self, encapsulated: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        let (kem, curve) = encapsulated.split_at_checked(KEM_CIPHERTEXT)?;
        let point = PublicKey::from(<[u8; 32]>::try_from(curve).ok()?);
        let first = self.kem.decapsulate(&ml_kem::Ciphertext::<MlKem768>::try_from(kem).ok()?).ok()?;
        let second = self.curve.diffie_hellman(&point);
        second.was_contributory().then(|| combine(&first, second.as_bytes(), curve, &self.public.curve))
    }
}

impl FromStr for Identity {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hrp = |hrp: Hrp| if hrp == IDENTITY { Ok(()) } else { Err("not a post-quantum identity") };
        let bytes =
            bech32_decode(text, |_| "not in bech32", hrp, |_, bytes| Ok(Zeroizing::new(bytes.collect::<Vec<_>>())))?;
        let seed = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| "not of the right length")?;
        Ok(Self::from_seed(Zeroizing::new(seed)))
    }
}

impl FromStr for Recipient {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hrp = |hrp: Hrp| if hrp == RECIPIENT { Ok(()) } else { Err("not a post-quantum recipient") };
        let bytes = bech32_decode(text, |_| "not in bech32", hrp, |_, bytes| Ok(bytes.collect::<Vec<_>>()))?;
        let wrong = "not of the right length";
        let (kem, curve) = bytes.split_at_checked(KEM_KEY).ok_or(wrong)?;
        let kem = Encapsulation::from_bytes(&ml_kem::array::Array::try_from(kem).map_err(|_| wrong)?);
        let curve = PublicKey::from(<[u8; 32]>::try_from(curve).map_err(|_| wrong)?);
        Ok(Recipient { kem, curve })
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.kem.as_bytes().to_vec();
        bytes.extend_from_slice(self.curve.as_bytes());
        f.write_str(&bech32_encode(RECIPIENT, &bytes))
    }
}

impl age::Identity for Identity {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        if stanza.tag != TAG {
            return None;
        }
        let [encapsulated] = stanza.args.as_slice() else { return Some(Err(age::DecryptError::InvalidHeader)) };
        let Ok(encapsulated) = BASE64_STANDARD_NO_PAD.decode(encapsulated) else {
            return Some(Err(age::DecryptError::InvalidHeader));
        };
        if stanza.body.len() != FILE_KEY_BYTES + 16 || encapsulated.len() != KEM_CIPHERTEXT + 32 {
            return Some(Err(age::DecryptError::InvalidHeader));
        }
        let shared = self.decapsulate(&encapsulated)?;
        let (key, nonce) = schedule(&shared);
        // A key that is another's is not told apart before the last step.
        let opened = ChaCha20Poly1305::new((&*key).into()).decrypt((&nonce).into(), stanza.body.as_slice()).ok()?;
        let opened = Zeroizing::new(opened);
        let mut file_key = Box::new([0; FILE_KEY_BYTES]);
        file_key.copy_from_slice(opened.get(..FILE_KEY_BYTES)?);
        Some(Ok(FileKey::new(file_key)))
    }
}

impl age::Recipient for Recipient {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        let ephemeral = StaticSecret::from(rand::random::<[u8; 32]>());
        let point = PublicKey::from(&ephemeral);
        let second = ephemeral.diffie_hellman(&self.curve);
        let chance = B32::from(rand::random::<[u8; 32]>());
        let failed = || age::EncryptError::Io(std::io::Error::other("a post-quantum recipient can't be used"));
        let (ciphertext, first) = self.kem.encapsulate_deterministic(&chance).map_err(|_| failed())?;
        let shared = combine(&first, second.as_bytes(), point.as_bytes(), &self.curve);
        let (key, nonce) = schedule(&shared);
        let sealed = ChaCha20Poly1305::new((&*key).into()).encrypt((&nonce).into(), &file_key.expose_secret()[..]);
        let mut encapsulated = ciphertext.to_vec();
        encapsulated.extend_from_slice(point.as_bytes());
        let stanza = Stanza {
            tag: TAG.to_owned(),
            args: vec![BASE64_STANDARD_NO_PAD.encode(&encapsulated)],
            body: sealed.map_err(|_| failed())?,
        };
        Ok((vec![stanza], HashSet::from(["postquantum".to_owned()])))
    }
}

/// X-Wing's combiner.
fn combine(first: &[u8], second: &[u8], point: &[u8], to: &PublicKey) -> Zeroizing<[u8; 32]> {
    let mut hash = Sha3_256::new();
    for part in [first, second, point, to.as_bytes().as_slice(), LABEL] {
        hash.update(part);
    }
    Zeroizing::new(hash.finalize().into())
}

/// HPKE's key schedule in base mode: key and base nonce.
fn schedule(shared: &[u8; 32]) -> (Zeroizing<[u8; 32]>, [u8; 12]) {
    let mut context = vec![0];
    context.extend_from_slice(&extract(b"", b"psk_id_hash", b""));
    context.extend_from_slice(&extract(b"", b"info_hash", INFO));
    let secret = Zeroizing::new(extract(shared, b"secret", b""));
    let key = Zeroizing::new(expand(&secret, b"key", &context, 32));
    let nonce = expand(&secret, b"base_nonce", &context, 12);
    (key, nonce[..12].try_into().unwrap_or_default())
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes keys of every length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn extract(salt: &[u8], label: &[u8], material: &[u8]) -> [u8; 32] {
    mac(salt, &[b"HPKE-v1", SUITE, label, material])
}

/// One block is enough for everything here: at most 32 bytes.
fn expand(secret: &[u8; 32], label: &[u8], context: &[u8], length: u16) -> [u8; 32] {
    mac(secret, &[&length.to_be_bytes(), b"HPKE-v1", SUITE, label, context, &[1]])
}
