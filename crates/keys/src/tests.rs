//! Tests with the specifications' own vectors, with files on disk, and with hostile keystores.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The secrets and passwords of the vectors in both formats' specifications.
const BLS_SECRET: &str = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";
const BLS_PASSWORD: &str = "𝔱𝔢𝔰𝔱𝔭𝔞𝔰𝔰𝔴𝔬𝔯𝔡🔑";
const ECDSA_SECRET: &str = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";
const ECDSA_PASSWORD: &str = "testpassword";

fn eip2335_vector(kdf: Value, checksum: &str, message: &str) -> Value {
    json!({
        "crypto": {
            "kdf": kdf,
            "checksum": { "function": "sha256", "params": {}, "message": checksum },
            "cipher": {
                "function": "aes-128-ctr",
                "params": { "iv": "264daa3f303d7259501c93d997d84fe6" },
                "message": message,
            },
        },
        "description": "a vector of EIP-2335",
        "pubkey": "9612d7a727c9d0a22e185a1c768478dfe919cada9266988cb32359c11f2b7b27f4ae4040902382ae2910c15e2b420d07",
        "path": "m/12381/60/3141592653/589793238",
        "uuid": "1d85ae20-35c5-4611-98e8-aa14a633906f",
        "version": 4,
    })
}

fn eip2335_scrypt() -> Value {
    let salt = "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3";
    eip2335_vector(
        json!({
            "function": "scrypt",
            "params": { "dklen": 32, "n": 262_144, "p": 1, "r": 8, "salt": salt },
            "message": "",
        }),
        "d2217fe5f3e9a1e34581ef8a78f7c9928e436d36dacc5e846690a5581e8ea484",
        "06ae90d55fe0a6e9c5c3bc5b170827b2e5cce3929ed3f116c2811e6366dfe20f",
    )
}

fn eip2335_pbkdf2() -> Value {
    let salt = "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3";
    eip2335_vector(
        json!({
            "function": "pbkdf2",
            "params": { "dklen": 32, "c": 262_144, "prf": "hmac-sha256", "salt": salt },
            "message": "",
        }),
        "8a9f5d9912ed7e75ea794bc5a89bca5f193721d30868ade6f73043c6ea6febf1",
        "cee03fde2af33149775b7223e7845e4fb2c8ae1792e5f99fe9ecf474cc8c16ad",
    )
}

/// A keystore that geth wrote, with an empty password.
fn web3_scrypt() -> Value {
    json!({
        "address": "45dea0fb0bba44f4fcf290bba71fd57d7117cbb8",
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": { "iv": "dc4926b48a105133d2f16b96833abf1e" },
            "ciphertext": "b87781948a1befd247bff51ef4063f716cf6c2d3481163e9a8f42e1f9bb74145",
            "kdf": "scrypt",
            "kdfparams": {
                "dklen": 32, "n": 2, "r": 8, "p": 1,
                "salt": "004244bbdc51cadda545b1cfa43cff9ed2ae88e08c61f1479dbb45410722f8f0",
            },
            "mac": "39990c1684557447940d4c69e06b1b82b2aceacb43f284df65c956daf3046b85",
        },
        "id": "ce541d8d-c79b-40f8-9f8c-20f59616faba",
        "version": 3,
    })
}

fn web3_pbkdf2() -> Value {
    json!({
        "Crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": { "iv": "6087dab2f9fdbbfaddc31a909735c1e6" },
            "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
            "kdf": "pbkdf2",
            "kdfparams": {
                "c": 262_144, "dklen": 32, "prf": "hmac-sha256",
                "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
            },
            "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
        },
        "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
        "version": 3,
    })
}

#[test]
fn the_vectors_of_eip2335_decrypt() {
    for vector in [eip2335_scrypt(), eip2335_pbkdf2()] {
        let key = eip2335::decrypt(&vector.to_string(), &Password::new(BLS_PASSWORD)).unwrap();
        assert_eq!(hex::encode(key.to_bytes().as_slice()), BLS_SECRET);
    }
}

#[test]
fn web3_keystores_of_others_decrypt() {
    let key = web3::decrypt(&web3_pbkdf2().to_string(), &Password::new(ECDSA_PASSWORD)).unwrap();
    assert_eq!(hex::encode(key.to_bytes().as_slice()), ECDSA_SECRET);
    let key = web3::decrypt(&web3_scrypt().to_string(), &Password::new("")).unwrap();
    assert_eq!(hex::encode(key.address()), "45dea0fb0bba44f4fcf290bba71fd57d7117cbb8");
}

#[test]
fn keys_come_back_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let password = create_password_file(&path("password")).unwrap();
    assert_eq!(password.expose().len(), 48);

    let bls = SecretKey::generate(&mut rand::rng());
    create_bls_keystore(&path("bls.json"), &bls, &password, KdfCost::Light).unwrap();
    let loaded = load_bls_keystore(&path("bls.json"), &path("password")).unwrap();
    assert_eq!(loaded.public_key(), bls.public_key());

    let ecdsa = EcdsaKey::random();
    create_ecdsa_keystore(&path("ecdsa.json"), &ecdsa, &password, KdfCost::Light).unwrap();
    let loaded = load_ecdsa_keystore(&path("ecdsa.json"), &path("password")).unwrap();
    assert_eq!(loaded.address(), ecdsa.address());

    // A file that exists is not overwritten, and a keystore of one format is not read as the other.
    let again = create_bls_keystore(&path("ecdsa.json"), &bls, &password, KdfCost::Light);
    assert!(matches!(again, Err(KeystoreError::File(SecretFileError::Exists { .. }))));
    assert!(matches!(
        load_bls_keystore(&path("ecdsa.json"), &path("password")),
        Err(KeystoreError::Format(_))
    ));
    assert!(matches!(
        load_ecdsa_keystore(&path("none"), &path("password")),
        Err(KeystoreError::File(SecretFileError::Io { .. }))
    ));

    create_password_file(&path("other")).unwrap();
    assert!(matches!(
        load_bls_keystore(&path("bls.json"), &path("other")),
        Err(KeystoreError::WrongPassword)
    ));
    assert!(matches!(
        load_ecdsa_keystore(&path("ecdsa.json"), &path("other")),
        Err(KeystoreError::WrongPassword)
    ));
}

#[test]
fn standard_cost_is_that_of_the_specifications() {
    let text = serde_json::to_value(kdf::ScryptParams::new(KdfCost::Standard)).unwrap();
    assert_eq!((&text["n"], &text["r"], &text["p"]), (&json!(262_144), &json!(8), &json!(1)));
}

#[test]
fn damage_is_noticed() {
    let password = Password::new("x");
    let key = SecretKey::derive(&[1; 32]);
    let good: Value = serde_json::from_str(&eip2335::encrypt(&key, &password, KdfCost::Light)).unwrap();
    let decrypt = |keystore: &Value| eip2335::decrypt(&keystore.to_string(), &password);
    assert!(decrypt(&good).is_ok());

    let mut flipped = good.clone();
    flipped["crypto"]["cipher"]["message"] = json!("00".repeat(32));
    assert!(matches!(decrypt(&flipped), Err(KeystoreError::WrongPassword)));
    // The checksum does not cover the initialisation vector; the public key shows the damage.
    let mut vector = good.clone();
    vector["crypto"]["cipher"]["params"]["iv"] = json!("00".repeat(16));
    assert!(matches!(decrypt(&vector), Err(KeystoreError::OtherKey { .. } | KeystoreError::NotAKey)));
    let mut other = good;
    other["pubkey"] = json!(hex::encode(SecretKey::derive(&[2; 32]).public_key().to_compressed().0));
    assert!(matches!(decrypt(&other), Err(KeystoreError::OtherKey { .. })));

    let signer = EcdsaKey::random();
    let mut web3: Value = serde_json::from_str(&web3::encrypt(&signer, &password, KdfCost::Light)).unwrap();
    web3["crypto"]["cipherparams"]["iv"] = json!("00".repeat(16));
    assert!(matches!(
        web3::decrypt(&web3.to_string(), &password),
        Err(KeystoreError::OtherKey { .. } | KeystoreError::NotAKey)
    ));
}

fn is_refused_unread(error: &KeystoreError) -> bool {
    matches!(
        error,
        KeystoreError::Parameter { .. } | KeystoreError::Format(_) | KeystoreError::Version { .. }
    )
}

#[test]
fn hostile_parameters_cost_nothing() {
    let refused = |keystore: &Value| {
        let error = eip2335::decrypt(&keystore.to_string(), &Password::new("x")).unwrap_err();
        assert!(is_refused_unread(&error), "{error}");
    };
    let refused_web3 = |keystore: &Value| {
        let error = web3::decrypt(&keystore.to_string(), &Password::new("x")).unwrap_err();
        assert!(is_refused_unread(&error), "{error}");
    };
    for (name, value) in [
        ("n", json!(1_u64 << 40)),
        ("n", json!(u64::MAX)),
        ("n", json!(0)),
        ("n", json!(1)),
        ("n", json!(262_143)),
        ("n", json!(-1)),
        ("r", json!(u32::MAX)),
        ("r", json!(0)),
        ("p", json!(u32::MAX)),
        ("p", json!(0)),
        ("dklen", json!(0)),
        ("dklen", json!(u64::MAX)),
        ("salt", json!("")),
        ("salt", json!("zz")),
        ("salt", json!("00".repeat(257))),
    ] {
        let mut keystore = eip2335_scrypt();
        keystore["crypto"]["kdf"]["params"][name] = value.clone();
        refused(&keystore);
        let mut keystore = web3_scrypt();
        keystore["crypto"]["kdfparams"][name] = value;
        refused_web3(&keystore);
    }
    for (name, value) in
        [("c", json!(u32::MAX)), ("c", json!(0)), ("prf", json!("hmac-sha1")), ("dklen", json!(31))]
    {
        let mut keystore = eip2335_pbkdf2();
        keystore["crypto"]["kdf"]["params"][name] = value;
        refused(&keystore);
    }
    for (module, name) in [("kdf", "argon2"), ("checksum", "md5"), ("cipher", "rot13")] {
        let mut keystore = eip2335_scrypt();
        keystore["crypto"][module]["function"] = json!(name);
        refused(&keystore);
    }
    let mut version = eip2335_scrypt();
    version["version"] = json!(3);
    refused(&version);
}

#[test]
fn ciphertexts_of_other_lengths_are_no_keys() {
    let derived = [0; 32];
    let iv = cipher::random_iv();
    for length in [0, 31, 33] {
        assert!(matches!(cipher::apply(&derived, &iv, &vec![0; length]), Err(KeystoreError::NotAKey)));
    }
    for length in [0, 33] {
        assert!(matches!(cipher::apply_padded(&derived, &iv, &vec![0; length]), Err(KeystoreError::NotAKey)));
    }
    let is_bad_iv = |result| matches!(result, Err(KeystoreError::Parameter { name: "iv", .. }));
    assert!(is_bad_iv(cipher::apply(&derived, &hexadecimal::HexBytes(vec![0; 15]), &[0; 32]).map(drop)));
    for length in [0, 13, 17] {
        let iv = hexadecimal::HexBytes(vec![0; length]);
        assert!(is_bad_iv(cipher::apply_padded(&derived, &iv, &[0; 32]).map(drop)));
    }
}

/// These keystores were written by other programs, and other programs can read them.
#[test]
fn web3_keystores_of_common_tools_decrypt() {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("../vectors/web3.json")).unwrap();
    assert_eq!(vectors.len(), 4);
    for vector in vectors {
        let password = Password::new(vector["password"].as_str().unwrap());
        let key = web3::decrypt(&vector["keystore"].to_string(), &password)
            .unwrap_or_else(|error| panic!("{}: {error}", vector["name"]));
        assert_eq!(
            hex::encode(key.to_bytes().as_slice()),
            vector["key"].as_str().unwrap(),
            "{}",
            vector["name"]
        );
        let wrong = web3::decrypt(&vector["keystore"].to_string(), &Password::new("wrong"));
        assert!(matches!(wrong, Err(KeystoreError::WrongPassword)), "{}", vector["name"]);
    }
}

/// One key in 65,536 begins with two zero bytes.
#[test]
fn keys_that_begin_with_zero_bytes_decrypt() {
    let password = Password::new("x");
    let mut secret = [0x5a; 32];
    secret[..2].fill(0);
    let key = EcdsaKey::from_slice(&secret).unwrap();
    let mut keystore: Value = serde_json::from_str(&web3::encrypt(&key, &password, KdfCost::Light)).unwrap();
    let params: kdf::ScryptParams = serde_json::from_value(keystore["crypto"]["kdfparams"].clone()).unwrap();
    let derived = kdf::Kdf::Scrypt(params).derive(password.expose().as_bytes()).unwrap();
    let iv: hexadecimal::HexBytes =
        serde_json::from_value(keystore["crypto"]["cipherparams"]["iv"].clone()).unwrap();
    let short = &cipher::apply_padded(&derived, &iv, &secret[2..]).unwrap()[2..];
    keystore["crypto"]["ciphertext"] = json!(hex::encode(short));
    let sum = alloy_primitives::keccak256([cipher::checksum_half(&derived), short].concat());
    keystore["crypto"]["mac"] = json!(hex::encode(sum));
    assert_eq!(web3::decrypt(&keystore.to_string(), &password).unwrap().address(), key.address());
}

#[test]
fn keystores_are_judged_as_passwords_are() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let password = create_password_file(&path("password")).unwrap();
    let key = SecretKey::derive(&[1; 32]);
    create_bls_keystore(&path("bls.json"), &key, &password, KdfCost::Light).unwrap();
    std::fs::set_permissions(path("bls.json"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(
        load_bls_keystore(&path("bls.json"), &path("password")),
        Err(KeystoreError::File(SecretFileError::TooOpen { mode: 0o644, .. }))
    ));
    // Opening a pipe does not block.
    assert!(
        std::process::Command::new("mkfifo")
            .args(["-m", "600"])
            .arg(path("pipe"))
            .status()
            .unwrap()
            .success()
    );
    assert!(matches!(
        load_ecdsa_keystore(&path("pipe"), &path("password")),
        Err(KeystoreError::File(SecretFileError::NotAFile { .. }))
    ));
}

#[test]
fn endless_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.json");
    dac_secrets::create(&path, " ".repeat(65 << 10).as_bytes()).unwrap();
    assert!(matches!(read(&path), Err(KeystoreError::File(SecretFileError::TooLong { .. }))));
}

proptest! {
    #[test]
    fn no_text_panics(text in ".*") {
        prop_assert!(eip2335::decrypt(&text, &Password::new("x")).is_err());
        prop_assert!(web3::decrypt(&text, &Password::new("x")).is_err());
    }

    #[test]
    fn identifiers_are_uuids(_ in any::<u8>()) {
        let uuid = crate::uuid::random();
        prop_assert_eq!(uuid.len(), 36);
        prop_assert_eq!(&uuid[14..15], "4");
        prop_assert!("89ab".contains(&uuid[19..20]));
    }
}
