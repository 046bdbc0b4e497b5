//! Floor 0: what a service may want in its log: opens, recoveries, healing, damage, rotations, and a
//! store that stopped writing. Through `tracing`, with feature `tracing`; without it an event is
//! nothing. Fields are numbers, words and errors of this crate, which hold no secret, no key and no
//! plaintext.

/// Tells whoever listens: a level, a sentence, fields by name. Fields are shown as `Debug` does.
macro_rules! tell {
    ($level:ident, $message:literal $(, $name:ident = $value:expr)* $(,)?) => {{
        #[cfg(feature = "tracing")]
        ::tracing::event!(
            target: "strongroom",
            ::tracing::Level::$level,
            $($name = ?$value,)*
            $message
        );
        #[cfg(not(feature = "tracing"))]
        {
            $(let _ = &$value;)*
        }
    }};
}

pub(crate) use tell;
