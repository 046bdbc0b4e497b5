//! One token for one call: found by the URI, logged in to if it wants that, logged out of when the
//! call is over. A login belongs to the whole process, and while there is one a token takes any PIN
//! for right; so none of ours outlives its call.

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};

use super::error::Pkcs11Error;
use super::pin::PinKeeper;
use super::uri::{Pkcs11Uri, TokenFacts};

/// How a token's PIN is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PinHealth {
    /// No wrong PIN since the last right one, or the token doesn't say.
    Good,
    /// There was at least one wrong PIN since the last right one.
    WrongBefore,
    /// One more wrong PIN locks it.
    LastTry,
    /// Locked until the security officer sets a new one.
    Locked,
}

/// A token as it presents itself, without a login.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TokenReport {
    /// Its label.
    pub label: String,
    /// Who made it.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// Its serial number.
    pub serial: String,
    /// The module: who made it, and what it says it is.
    pub library: String,
    /// How its PIN is doing.
    pub pin: PinHealth,
    /// Whether it has to be given a PIN: it wants a login, and its reader has no keys to type one.
    pub wants_pin: bool,
}

/// A token that the URI means.
pub(super) struct Found<'a> {
    context: &'a Pkcs11,
    pub(super) slot: Slot,
    info: TokenInfo,
    pub(super) report: TokenReport,
}

/// What decides about a login.
#[derive(Clone, Copy, Debug)]
struct Door {
    wants_login: bool,
    has_keypad: bool,
    health: PinHealth,
    pin: bool,
    last_try: bool,
}

/// How to log in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Login {
    Not,
    WithPin,
    AtTheReader,
}

fn way_in(door: Door) -> Result<Login, Pkcs11Error> {
    match door {
        Door { wants_login: false, pin: false, .. } => Ok(Login::Not),
        Door { health: PinHealth::Locked, .. } => Err(Pkcs11Error::PinLocked),
        Door { health: PinHealth::LastTry, last_try: false, .. } => Err(Pkcs11Error::LastTry),
        Door { pin: true, .. } => Ok(Login::WithPin),
        Door { has_keypad: true, .. } => Ok(Login::AtTheReader),
        _ => Err(Pkcs11Error::PinMissing),
    }
}

fn health(info: &TokenInfo) -> PinHealth {
    if info.user_pin_locked() {
        PinHealth::Locked
    } else if info.user_pin_final_try() {
        PinHealth::LastTry
    } else if info.user_pin_count_low() {
        PinHealth::WrongBefore
    } else {
        PinHealth::Good
    }
}

impl<'a> Found<'a> {
    /// The one token that the URI means.
    ///
    /// # Errors
    /// [`Pkcs11Error::TokenAbsent`], [`Pkcs11Error::TokenAmbiguous`], or the module fails.
    pub(super) fn by(uri: &Pkcs11Uri, context: &'a Pkcs11) -> Result<Self, Pkcs11Error> {
        let library = context.get_library_info()?;
        let version = library.library_version().to_string();
        let (maker, what) = (library.manufacturer_id(), library.library_description());
        if !uri.fits_library(maker, what, &version) {
            let why = format!("the module is {what} {version} of {maker}");
            return Err(Pkcs11Error::TokenAbsent(why));
        }
        let (mut found, mut others, mut failed) = (Vec::new(), 0, None);
        for slot in context.get_slots_with_token()? {
            // One token that fails, or goes while we look, says nothing about the others.
            match look_at(context, slot) {
                Ok((info, facts)) if info.token_initialized() && uri.fits_token(&facts) => {
                    found.push((slot, info));
                }
                Ok((info, _)) => others += usize::from(info.token_initialized()),
                Err(error) => failed = Some(error),
            }
        }
        let several = found.len();
        let (Some((slot, info)), 1) = (found.pop(), several) else {
            return Err(match (several, failed) {
                (0, Some(error)) => Pkcs11Error::TokenAbsent(format!("one fails: {error}")),
                (0, None) => Pkcs11Error::TokenAbsent(format!("{others} others are")),
                (several, _) => Pkcs11Error::TokenAmbiguous(several),
            });
        };
        let report = TokenReport {
            label: info.label().to_owned(),
            manufacturer: info.manufacturer_id().to_owned(),
            model: info.model().to_owned(),
            serial: info.serial_number().to_owned(),
            library: format!("{maker}, {what} {version}"),
            pin: health(&info),
            wants_pin: info.login_required() && !info.protected_authentication_path(),
        };
        Ok(Self { context, slot, info, report })
    }

    /// A session, logged in as far as the token wants it.
    ///
    /// # Errors
    /// What the PIN or the token says. The PIN is tried once.
    pub(super) fn log_in(
        &self,
        pin: &PinKeeper,
        last_try: bool,
        writable: bool,
    ) -> Result<LoggedIn, Pkcs11Error> {
        let door = Door {
            wants_login: self.info.login_required(),
            has_keypad: self.info.protected_authentication_path(),
            health: self.report.pin,
            pin: pin.is_there(),
            last_try,
        };
        let way = way_in(door)?;
        let session = match writable {
            true => self.context.open_rw_session(self.slot)?,
            false => self.context.open_ro_session(self.slot)?,
        };
        let answer = match way {
            Login::Not => return Ok(LoggedIn { session, ours: false }),
            Login::WithPin => session.login_with_raw(UserType::User, &pin.take()?),
            Login::AtTheReader => session.login(UserType::User, None),
        };
        match answer {
            Ok(()) => Ok(LoggedIn { session, ours: true }),
            // Somebody else in this process is: the application itself. It stays so.
            Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                Ok(LoggedIn { session, ours: false })
            }
            Err(error) => {
                let vague = is_vague(&error);
                let error = Pkcs11Error::from(error);
                if vague || matches!(error, Pkcs11Error::WrongPin | Pkcs11Error::PinLocked) {
                    pin.refused();
                }
                Err(error)
            }
        }
    }
}

// Some modules say no more of a wrong PIN than that: a PIN that may have been tried is not tried
// again.
fn is_vague(error: &Error) -> bool {
    let Error::Pkcs11(error, _) = error else { return false };
    matches!(error, RvError::GeneralError | RvError::FunctionFailed | RvError::DeviceError)
}

fn look_at(context: &Pkcs11, slot: Slot) -> Result<(TokenInfo, TokenFacts), Error> {
    let info = context.get_token_info(slot)?;
    let seat = context.get_slot_info(slot)?;
    let facts = TokenFacts {
        label: info.label().to_owned(),
        manufacturer: info.manufacturer_id().to_owned(),
        model: info.model().to_owned(),
        serial: info.serial_number().to_owned(),
        slot_id: slot.id(),
        slot_description: seat.slot_description().to_owned(),
        slot_manufacturer: seat.manufacturer_id().to_owned(),
    };
    Ok((info, facts))
}

/// A session, and the login that ends with it.
pub(super) struct LoggedIn {
    pub(super) session: Session,
    ours: bool,
}

impl Drop for LoggedIn {
    fn drop(&mut self) {
        if self.ours {
            // A token that is gone has nobody logged in.
            let _ = self.session.logout();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_tried_only_where_it_can_do_no_harm() {
        let plain = Door {
            wants_login: true,
            has_keypad: false,
            health: PinHealth::Good,
            pin: true,
            last_try: false,
        };
        for (door, way) in [
            (plain, Ok(Login::WithPin)),
            (Door { health: PinHealth::WrongBefore, ..plain }, Ok(Login::WithPin)),
            (Door { health: PinHealth::LastTry, ..plain }, Err(Pkcs11Error::LastTry)),
            (Door { health: PinHealth::LastTry, last_try: true, ..plain }, Ok(Login::WithPin)),
            (
                Door { health: PinHealth::Locked, last_try: true, ..plain },
                Err(Pkcs11Error::PinLocked),
            ),
            (Door { pin: false, ..plain }, Err(Pkcs11Error::PinMissing)),
            (Door { pin: false, has_keypad: true, ..plain }, Ok(Login::AtTheReader)),
            // At the reader too an attempt counts.
            (
                Door { pin: false, has_keypad: true, health: PinHealth::LastTry, ..plain },
                Err(Pkcs11Error::LastTry),
            ),
            (Door { wants_login: false, ..plain }, Ok(Login::WithPin)),
            (Door { wants_login: false, pin: false, ..plain }, Ok(Login::Not)),
            (
                Door { wants_login: false, pin: false, health: PinHealth::Locked, ..plain },
                Ok(Login::Not),
            ),
        ] {
            assert_eq!(way_in(door), way, "{door:?}");
        }
    }
}
