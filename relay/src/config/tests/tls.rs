//! `[tls]`.

use super::*;

#[test]
fn cipher_suites_are_those_of_tls_1_2_by_openssls_names() {
    use crate::certificate::CipherSuite;
    let with = |list: &str| Setup::new(&format!("[tls]\nciphers = {list}\n"));
    assert_eq!(Setup::new("").load().tls_ciphers, None);
    assert_eq!(with("[]").load().tls_ciphers, Some(Vec::new()));
    let twice = with("[\"ECDHE-RSA-AES128-GCM-SHA256\", \"ECDHE-RSA-AES128-GCM-SHA256\"]").load();
    assert_eq!(twice.tls_ciphers, Some(vec![CipherSuite::RsaAes128]));
    let errors = with("[\"TLS_AES_128_GCM_SHA256\"]").errors();
    assert!(
        errors[0].contains("tls.ciphers") && errors[0].contains("TLS 1.3 has its own"),
        "{errors:?}"
    );
}
