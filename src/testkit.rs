//! Instruments that crash, fault and attack a store (feature `testkit`).
