//! Groth16 over BN254: keys, proofs, and how both look on L1.
//!
//! **The keys made here are for development only.** Anyone who knows the seed can prove
//! anything. A real rollup takes its keys from a ceremony: `docs/binding.md` says how.

use std::fs;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use alloy_primitives::{Bytes, U256, keccak256};
use ark_bn254::{Bn254, Fq, Fr, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_ff::{BigInteger, PrimeField, UniformRand};
use ark_groth16::{Groth16, ProvingKey, VerifyingKey};
use ark_relations::gr1cs::SynthesisError;
use ark_relations::utils::matrix::Matrix;
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize, SerializationError};
use dac_types::{B256, HashKind, PublicClaim};
use dac_types::{ClaimFields, InputNotInField};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{CryptoRng, RngCore, SeedableRng};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::batch::{Batch, OpenBatch};
use crate::circuit::batch::{Report, statement};
use crate::circuit::system::System;
use crate::shape::{PAYLOAD_BYTES, POINTS};
use crate::state::State;
use crate::transaction::Domain;

/// Bytes of a proof on L1: A ‖ B ‖ C, uncompressed.
pub const PROOF_BYTES: usize = 256;
/// What the development keys are drawn from. Known to everybody, so they protect nothing.
const DEVELOPMENT_SEED: &str = "dac reference rollup: DEV ONLY, everybody can forge proofs";

/// Why there is no proof.
#[derive(Debug, Error)]
pub enum ProverError {
    /// The batch does not do what the claim says.
    #[error("the claim is not true of this batch: constraint {constraint} does not hold")]
    NotTrue {
        /// The first that fails.
        constraint: usize,
    },
    /// The circuit is for one number of points.
    #[error("the keys are for {POINTS} points (committees of at most 84 seats), the claim has {got}")]
    Points {
        /// The claim's.
        got: usize,
    },
    /// Would stand for another element.
    #[error(transparent)]
    Input(#[from] InputNotInField),
    /// The keys are of another circuit, or damaged.
    #[error("the keys do not fit the circuit: {0}")]
    Keys(#[from] SynthesisError),
}

/// Why keys cannot be had.
#[derive(Debug, Error)]
pub enum KeysError {
    /// The cache cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Key generation failed.
    #[error("key generation: {0}")]
    Setup(#[from] SynthesisError),
    /// The keys cannot be written down.
    #[error("encoding of the keys: {0}")]
    Encoding(#[from] SerializationError),
}

/// The inputs of the circuit as elements, in the order of the verifying key.
pub fn public_inputs(claim: &PublicClaim) -> Result<Vec<Fr>, InputNotInField> {
    let inputs = claim.groth16_inputs()?;
    Ok(inputs.iter().map(|bytes| Fr::from_le_bytes_mod_order(bytes)).collect())
}

/// Proving and verifying key, and the circuit's matrices.
pub struct Keys {
    proving: ProvingKey<Bn254>,
    matrices: Vec<Matrix<Fr>>,
}

/// A batch that does nothing, on top of nothing: the structure of every other one.
fn empty_batch() -> (Batch, PublicClaim) {
    let mut state = State::default();
    let batch = OpenBatch::new(&mut state, Domain([0; 16])).close();
    let claim = PublicClaim::new(ClaimFields {
        old_state_root: B256::ZERO,
        new_state_root: B256::ZERO,
        chain_id: 0,
        settlement: dac_types::Address::ZERO,
        batch_number: 0,
        payload_length: PAYLOAD_BYTES as u64,
        hash_kind: HashKind::Opaque,
        batch_hash: B256::ZERO,
        l1_inputs: B256::ZERO,
        l1_outputs: B256::ZERO,
        points: vec![0; POINTS * 16],
        payload_fingerprint: vec![0; POINTS * 16],
    });
    (batch, claim.expect("well-formed"))
}

/// The circuit, with the values of an empty batch.
fn empty_system() -> (System, Report) {
    let (batch, claim) = empty_batch();
    let inputs = public_inputs(&claim).expect("zeros");
    statement(&batch, &claim, &inputs)
}

/// What the circuit and its parts weigh.
pub fn report() -> Report {
    empty_system().1
}

impl Keys {
    /// Keys whose secrets everybody knows: DEV ONLY. About half a minute.
    pub fn development() -> Result<Self, SynthesisError> {
        Self::generate(&empty_system().0)
    }

    fn generate(system: &System) -> Result<Self, SynthesisError> {
        let mut rng = ChaCha20Rng::from_seed(keccak256(DEVELOPMENT_SEED).0);
        let proving = Groth16::<Bn254>::generate_random_parameters_with_reduction(system, &mut rng)?;
        Ok(Self { proving, matrices: system.matrices() })
    }

    /// The development keys from a folder, made and left there if they are not there yet. The
    /// file's name has the circuit's hash, so that keys of another circuit are never taken.
    pub fn cached_development(folder: &Path) -> Result<Self, KeysError> {
        let (system, _) = empty_system();
        let name = format!("groth16-DEV-ONLY-{}.bin", &system.structure_hash().to_string()[2..18]);
        let path = folder.join(name);
        let io_error = |source| KeysError::Io { path: path.clone(), source };
        match fs::File::open(&path) {
            Ok(file) => {
                // The points are not checked one by one (that takes longer than making them): the
                // folder is the developer's own.
                let mut reader = BufReader::with_capacity(1 << 20, file);
                if let Ok(proving) = ProvingKey::deserialize_uncompressed_unchecked(&mut reader) {
                    return Ok(Self { proving, matrices: system.matrices() });
                }
                // Cut short by a crash: made again below.
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error(error)),
        }
        let keys = Self::generate(&system)?;
        fs::create_dir_all(folder).map_err(io_error)?;
        let partial = path.with_extension(format!("{}.partial", std::process::id()));
        let mut writer = BufWriter::with_capacity(1 << 20, fs::File::create(&partial).map_err(io_error)?);
        keys.proving.serialize_uncompressed(&mut writer)?;
        writer.flush().and_then(|()| fs::rename(&partial, &path)).map_err(io_error)?;
        Ok(keys)
    }

    /// The proof that `claim` is true of `batch`. Zero-knowledge by `rng`.
    pub fn prove(
        &self,
        batch: &Batch,
        claim: &PublicClaim,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Proof, ProverError> {
        self.prove_with(batch, claim, Fr::rand(rng), Fr::rand(rng))
    }

    /// Proves with the two numbers that hide the witness. It has no parameter of a type, so that
    /// the prover is compiled here, where arithmetic is optimised, and not in each crate that calls
    /// it.
    fn prove_with(&self, batch: &Batch, claim: &PublicClaim, r: Fr, s: Fr) -> Result<Proof, ProverError> {
        if claim.point_count() != POINTS {
            return Err(ProverError::Points { got: claim.point_count() });
        }
        let inputs = public_inputs(claim)?;
        let (system, report) = statement(batch, claim, &inputs);
        if let Some(constraint) = system.unsatisfied() {
            return Err(ProverError::NotTrue { constraint });
        }
        let proof = Groth16::<Bn254>::create_proof_with_reduction_and_matrices(
            &self.proving,
            r,
            s,
            &self.matrices,
            1 + system.public_inputs(),
            report.total.constraints,
            system.assignment(),
        )?;
        Ok(Proof(proof))
    }

    /// The key that L1 gets.
    pub fn verifying(&self) -> VerifyingKeyOnL1 {
        VerifyingKeyOnL1::from(&self.proving.vk)
    }

    /// Whether L1 would accept the proof.
    pub fn verifies(&self, claim: &PublicClaim, proof: &Proof) -> bool {
        let Ok(inputs) = public_inputs(claim) else { return false };
        let prepared = ark_groth16::prepare_verifying_key(&self.proving.vk);
        Groth16::<Bn254>::verify_proof(&prepared, &proof.0, &inputs).unwrap_or(false)
    }
}

/// A proof.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof(ark_groth16::Proof<Bn254>);

impl Proof {
    /// A ‖ B ‖ C as L1's precompiles take them (EIP-197): 64, 128 and 64 bytes.
    pub fn to_bytes(&self) -> Bytes {
        let words = [&g1_words(&self.0.a)[..], &g2_words(&self.0.b), &g1_words(&self.0.c)].concat();
        words.iter().flat_map(|word| word.to_be_bytes::<32>()).collect()
    }
}

fn word(coordinate: Fq) -> U256 {
    U256::from_be_slice(&coordinate.into_bigint().to_bytes_be())
}

fn g1_words(point: &G1Affine) -> [U256; 2] {
    let (x, y) = point.xy().unwrap_or_default();
    [word(x), word(y)]
}

/// The imaginary part comes first.
fn g2_words(point: &G2Affine) -> [U256; 4] {
    let (x, y) = point.xy().unwrap_or_default();
    [word(x.c1), word(x.c0), word(y.c1), word(y.c0)]
}

/// A verifying key as the `Groth16Adapter` takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyingKeyOnL1 {
    /// Points that the circuit evaluates.
    pub points: U256,
    /// G1.
    pub alpha: [U256; 2],
    /// G2.
    pub beta: [U256; 4],
    /// G2.
    pub gamma: [U256; 4],
    /// G2.
    pub delta: [U256; 4],
    /// G1: the constant's, then one for each input.
    pub ic: Vec<[U256; 2]>,
}

impl From<&VerifyingKey<Bn254>> for VerifyingKeyOnL1 {
    fn from(key: &VerifyingKey<Bn254>) -> Self {
        Self {
            points: U256::from(POINTS),
            alpha: g1_words(&key.alpha_g1),
            beta: g2_words(&key.beta_g2),
            gamma: g2_words(&key.gamma_g2),
            delta: g2_words(&key.delta_g2),
            ic: key.gamma_abc_g1.iter().map(g1_words).collect(),
        }
    }
}
