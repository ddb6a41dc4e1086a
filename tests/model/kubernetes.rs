//! What steps do on the API server: compare-and-swap, creates that do not overwrite, finalizers.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use platform_token_operator::api::Reason;
use platform_token_operator::plan::{Former, Reader, read, render};

use crate::from_types::secret_back;
use crate::guards::Guard;
use crate::mind::{Answer, Facts};
use crate::scene::Scene;
use crate::story::{secret_name, token_name, upstream_name};
use crate::world::{At, Attempt, GROUP, Issued, PlatformToken, Secret};

impl Scene<'_> {
    pub(crate) fn read_secret(&mut self, p: usize, i: usize, name: usize) -> Answer {
        let cached = self.cached_secrets(p)[name].is_some();
        let secret = self.state.secrets[name].clone();
        let blind = self.world.without == Some(Guard::LiveRead) && !cached;
        self.tell(|| match &secret {
            _ if blind => format!(
                "believes its cache that there is no Secret {}",
                secret_name(name)
            ),
            None => format!("reads Secret {}: there is none", secret_name(name)),
            Some(secret) => format!(
                "reads Secret {}: it holds {}{}",
                secret_name(name),
                upstream_name(secret.issued.token),
                if secret.deleting {
                    " and is being deleted"
                } else {
                    ""
                }
            ),
        });
        match secret.filter(|_| !blind) {
            None => Answer::Secret(Facts::Absent),
            Some(secret) => {
                let known = self
                    .run(p, i)
                    .token
                    .status
                    .issued
                    .map(|issued| issued.token);
                Answer::Secret(self.facts(i, name, &secret, known))
            }
        }
    }

    /// A Secret as the operator reads it.
    pub(crate) fn facts(&self, i: usize, name: usize, secret: &Secret, known: Option<u8>) -> Facts {
        let names = &self.rules.names;
        let owner = &names.owners[usize::from(secret.owner)];
        let value = names.value(secret.issued.token);
        let given_up = secret
            .given_up
            .iter()
            .map(|token| names.id(*token).clone())
            .collect();
        let issued = names.issued(secret.issued);
        let mut written = render(
            owner,
            &name.to_string(),
            &issued,
            &given_up,
            value,
            secret.held,
        );
        written.metadata.uid = Some("uid".into());
        written.metadata.resource_version = Some(secret.version.to_string());
        if secret.deleting {
            written.metadata.deletion_timestamp = Some(Time(names.past));
        }
        let known = known.map(|token| names.hash(token));
        let reader = Reader {
            owner: &names.owners[i],
            known,
            take_over: None,
        };
        let former = match &self.state.tokens[usize::from(secret.owner)] {
            Some(_) => Former::Lives,
            None => Former::Gone,
        };
        secret_back(&read(&written, reader, &former))
    }

    pub(crate) fn preflight(&mut self, name: usize) -> Answer {
        self.tell(|| {
            format!(
                "asks by a dry run whether Secret {} can be created",
                secret_name(name)
            )
        });
        match self.state.secrets[name] {
            Some(_) => Answer::Exists,
            None => Answer::Writable,
        }
    }

    pub(crate) fn look(&mut self, p: usize, i: usize) -> Answer {
        let read = self.run(p, i).token.version;
        let (answer, told) = match &self.state.tokens[i] {
            None => (Answer::TokenGone, "it is gone"),
            Some(token) if token.version == read => (Answer::Current, "it is as it was read"),
            Some(_) => (Answer::Stale, "it has changed"),
        };
        self.tell(|| format!("looks at {} live: {told}", token_name(i)));
        answer
    }

    /// Compare-and-swap on a PlatformToken.
    fn patch_token(&mut self, p: usize, i: usize) -> Result<&mut PlatformToken, Denied> {
        let read = self.run(p, i).token.version;
        let swap = self.world.without != Some(Guard::CompareAndSwap);
        let next = &mut self.state.next.token_version[i];
        match &mut self.state.tokens[i] {
            None => {
                if self.telling {
                    self.told
                        .push(format!("finds that {} is gone", token_name(i)));
                }
                Err(Denied::Missing)
            }
            Some(token) if swap && token.version != read => {
                if self.telling {
                    self.told.push(format!(
                        "writes {} at rv {read}, which is rv {} by now: conflict",
                        token_name(i),
                        token.version
                    ));
                }
                Err(Denied::Conflict)
            }
            Some(token) => {
                token.version = *next;
                *next += 1;
                Ok(token)
            }
        }
    }

    pub(crate) fn hold(&mut self, p: usize, i: usize, attempt: Option<Attempt>) -> Answer {
        let version = match self.patch_token(p, i) {
            Ok(token) => {
                token.held = true;
                if attempt.is_some() {
                    token.attempt = attempt;
                }
                token.version
            }
            Err(denied) => return denied.stale_or(Reason::KubernetesError),
        };
        self.tell(|| {
            format!(
                "puts the finalizer back on {} (rv {version} now)",
                token_name(i)
            )
        });
        self.wake(i);
        Answer::Held(version)
    }

    pub(crate) fn lift(&mut self, p: usize, i: usize) -> Answer {
        match self.patch_token(p, i) {
            Ok(token) => {
                token.held = false;
                if token.deleting {
                    self.state.tokens[i] = None;
                }
                self.tell(|| format!("lifts the finalizer of {}", token_name(i)));
                self.wake(i);
                Answer::Lifted
            }
            Err(Denied::Missing) => Answer::Lifted,
            Err(Denied::Conflict) => Answer::Stale,
        }
    }

    pub(crate) fn open(&mut self, p: usize, i: usize, number: u32, given_up: Vec<u8>) -> Answer {
        let at = At {
            number: u8::try_from(number).expect("few attempts are opened here"),
            id: i as u8 * GROUP + self.state.next.attempt[i],
        };
        let attempt = Attempt { at, given_up };
        let hold = self.world.without != Some(Guard::FinalizerFirst);
        let version = match self.patch_token(p, i) {
            Ok(token) => {
                token.attempt = Some(attempt.clone());
                token.held |= hold;
                token.version
            }
            Err(denied) => return denied.stale_or(Reason::KubernetesError),
        };
        self.state.next.attempt[i] += 1;
        self.tell(|| {
            format!(
                "opens attempt {number} of {} (rv {version} now)",
                token_name(i)
            )
        });
        self.wake(i);
        Answer::Opened(attempt, version)
    }

    pub(crate) fn store(
        &mut self,
        i: usize,
        name: usize,
        (issued, given_up): (Issued, Vec<u8>),
        over: Option<u8>,
    ) -> Answer {
        let there = self.state.secrets[name]
            .as_ref()
            .map(|secret| secret.version);
        let what = || {
            format!(
                "Secret {} with {}",
                secret_name(name),
                upstream_name(issued.token)
            )
        };
        match (over, there) {
            (None, Some(_)) if self.world.without != Some(Guard::CreateOnly) => {
                self.tell(|| format!("creates {}: it exists already", what()));
                return Answer::Exists;
            }
            (Some(_), None) => {
                self.tell(|| format!("writes {}: it is gone", what()));
                return Answer::Stale;
            }
            (Some(read), Some(now)) if read != now => {
                self.tell(|| format!("writes {}: conflict", what()));
                return Answer::Stale;
            }
            _ => {}
        }
        let version = self.secret_version(name);
        self.tell(|| {
            format!(
                "stores {} in Secret {} (rv {version})",
                upstream_name(issued.token),
                secret_name(name)
            )
        });
        let deleting = self.state.secrets[name]
            .as_ref()
            .is_some_and(|secret| secret.deleting);
        self.state.secrets[name] = Some(Secret {
            version,
            owner: i as u8,
            deleting,
            held: true,
            issued,
            given_up,
        });
        self.wake(i);
        Answer::Stored(version)
    }

    /// Lifts our finalizer from exactly this Secret.
    pub(crate) fn release(&mut self, name: usize, read: u8) -> Answer {
        let Some(secret) = &self.state.secrets[name] else {
            self.tell(|| {
                format!(
                    "lifts the finalizer of Secret {}: it is gone",
                    secret_name(name)
                )
            });
            return Answer::SecretGone;
        };
        if secret.version != read {
            self.tell(|| {
                format!(
                    "lifts the finalizer of Secret {}: conflict",
                    secret_name(name)
                )
            });
            return Answer::Stale;
        }
        let (owner, deleting) = (usize::from(secret.owner), secret.deleting);
        let version = self.secret_version(name);
        if deleting {
            self.state.secrets[name] = None;
        } else if let Some(secret) = &mut self.state.secrets[name] {
            secret.held = false;
            secret.version = version;
        }
        self.tell(|| format!("lifts the finalizer of Secret {}", secret_name(name)));
        self.wake(owner);
        Answer::SecretGone
    }

    pub(crate) fn remove(&mut self, name: usize, read: u8) -> Answer {
        let Some(secret) = &self.state.secrets[name] else {
            self.tell(|| format!("deletes Secret {}: it is gone", secret_name(name)));
            return Answer::SecretGone;
        };
        if secret.version != read {
            self.tell(|| format!("deletes Secret {}: conflict", secret_name(name)));
            return Answer::Stale;
        }
        let (owner, held) = (usize::from(secret.owner), secret.held);
        let version = self.delete_secret(name);
        self.tell(|| format!("deletes Secret {}", secret_name(name)));
        self.wake(owner);
        if held {
            Answer::SecretDeleting(version)
        } else {
            Answer::SecretGone
        }
    }

    /// The API server deletes a Secret, or marks it if a finalizer holds it; the resourceVersion that it has then.
    pub(crate) fn delete_secret(&mut self, name: usize) -> u8 {
        let Some(secret) = &self.state.secrets[name] else {
            return 0;
        };
        if !secret.held {
            self.state.secrets[name] = None;
            return 0;
        }
        if secret.deleting {
            return secret.version;
        }
        let version = self.secret_version(name);
        if let Some(secret) = &mut self.state.secrets[name] {
            secret.deleting = true;
            secret.version = version;
        }
        version
    }

    fn secret_version(&mut self, name: usize) -> u8 {
        let next = &mut self.state.next.secret_version[name];
        *next += 1;
        *next - 1
    }
}

/// Why a write was not carried out.
enum Denied {
    Missing,
    Conflict,
}

impl Denied {
    fn stale_or(self, reason: Reason) -> Answer {
        match self {
            Self::Conflict => Answer::Stale,
            Self::Missing => Answer::Failed(reason),
        }
    }
}
