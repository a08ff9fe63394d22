//! Writes known keys into the files from which processes read them. The key derivation is cheap,
//! because no attacker is after these keys.

use std::fs;
use std::path::Path;

use dac_bls::SecretKey;
use dac_chain::EcdsaKey;
use dac_keys::{KdfCost, create_bls_keystore, create_ecdsa_keystore, create_password_file};

use crate::configuration::KeyFiles;
use crate::failure::{Context, Result};

/// Writes a BLS key into `folder`.
pub fn bls(folder: &Path, key: &SecretKey) -> Result<KeyFiles> {
    let files = files(folder, "bls")?;
    let password = create_password_file(&files.password)?;
    create_bls_keystore(&files.keystore, key, &password, KdfCost::Light)?;
    Ok(files)
}

/// Writes a secp256k1 key into `folder`.
pub fn ethereum(folder: &Path, key: &EcdsaKey) -> Result<KeyFiles> {
    let files = files(folder, "ethereum")?;
    let password = create_password_file(&files.password)?;
    create_ecdsa_keystore(&files.keystore, key, &password, KdfCost::Light)?;
    Ok(files)
}

fn files(folder: &Path, name: &str) -> Result<KeyFiles> {
    fs::create_dir_all(folder).context(folder.display())?;
    Ok(KeyFiles {
        keystore: folder.join(format!("{name}.json")),
        password: folder.join(format!("{name}.password")),
    })
}
