//! A PKCS#11 token as a key provider: an HSM, a smart card, SoftHSM.
