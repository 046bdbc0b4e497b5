//! The example of a hundred tenants, over one token with a hundred keys.

use std::error::Error;
use std::sync::Arc;

use strongroom::KeyProvider;

use super::hsm::{Hsm, with_softhsm};

#[path = "../../examples/hundred_tenants.rs"]
mod hundred_tenants;

use hundred_tenants::{Keys, Outcome, run};

struct OneToken<'a>(&'a Hsm);

impl OneToken<'_> {
    fn path(tenant: &str) -> String {
        format!("token=tenants;object={tenant}")
    }
}

impl Keys for OneToken<'_> {
    fn make(&self, tenant: &str) -> Result<(), Box<dyn Error>> {
        self.0.provider(&Self::path(tenant)).generate_key()?;
        Ok(())
    }

    fn key(&self, tenant: &str) -> Result<Arc<dyn KeyProvider>, Box<dyn Error>> {
        Ok(Arc::new(self.0.provider(&Self::path(tenant))))
    }

    fn destroy(&self, tenant: &str) -> Result<(), Box<dyn Error>> {
        assert_eq!(self.0.provider(&Self::path(tenant)).efface()?, 1);
        Ok(())
    }
}

#[test]
fn a_tenant_is_erased_with_his_key_and_no_other_is() {
    with_softhsm("tenants::a_tenant_is_erased_with_his_key_and_no_other_is", |hsm| {
        hsm.fresh(&["tenants"]);
        let folder = hsm.folder.join("files");
        std::fs::create_dir(&folder).unwrap();
        let began = std::time::Instant::now();
        let outcome = run(&OneToken(hsm), 100, &folder).unwrap();
        println!("figure: hundred tenants over SoftHSM = {} ms", began.elapsed().as_millis());
        println!("figure: hundred tenants, files that open before = {}", outcome.opened_before);
        println!("figure: hundred tenants, files that open after = {}", outcome.opened_after);
        println!("figure: hundred tenants, attempts on the erased = {}", outcome.attempts);
        let opened = outcome.attempts_that_opened;
        println!("figure: hundred tenants, attempts that opened = {opened}");
        let wanted = Outcome {
            opened_before: 100,
            opened_after: 99,
            attempts: 300,
            attempts_that_opened: 0,
        };
        assert_eq!(outcome, wanted);
    });
}
