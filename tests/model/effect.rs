//! What each step does to the world, and what comes of it: one arm for each, as `controller/execute.rs` has one function.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use platform_token_operator::api::{Dialect, Reason};
use platform_token_operator::plan::{RevokeWith, Step, read, render};

use crate::claims::Claim;
use crate::guards::Guard;
use crate::names;
use crate::rules::{attempt_back, secret_back};
use crate::scene::Scene;
use crate::world::{
    Answer, At, Attempt, Facts, GROUP, Issued, PlatformToken, Post, Recovery, STRANGERS, Secret,
    Upstream,
};

/// Why a write was not carried out.
enum Denied {
    Missing,
    Conflict,
}

impl Scene<'_> {
    /// Carries out one step of the process `p` for the PlatformToken `i`. None: what comes of it comes later.
    pub(crate) fn effect(&mut self, p: usize, i: usize, step: &Step) -> Option<Answer> {
        Some(match step {
            Step::ReadSecret { name } => self.read_secret(p, i, number(name)),
            Step::Permit => Answer::Permitted,
            Step::Preflight { name } => {
                let exists = self.state.secrets[number(name)].is_some();
                self.tell(|| {
                    format!(
                        "asks by a dry run whether Secret {} can be created",
                        secret_name(number(name))
                    )
                });
                if exists {
                    Answer::Exists
                } else {
                    Answer::Writable
                }
            }
            Step::Look => self.look(p, i),
            Step::Hold(open) => {
                let open = open.as_ref().map(attempt_back);
                match self.patch_token(p, i) {
                    Ok(token) => {
                        token.held = true;
                        if open.is_some() {
                            token.attempt = open;
                        }
                        let version = token.version;
                        self.tell(|| {
                            format!(
                                "puts the finalizer back on {} (rv {version} now)",
                                token_name(i)
                            )
                        });
                        self.wake(i);
                        Answer::Held(version)
                    }
                    Err(denied) => denied.stale_or(Reason::KubernetesError),
                }
            }
            Step::Open(attempt) => {
                let given_up = names::tokens(&attempt.given_up);
                self.open(p, i, attempt.at.number, given_up)
            }
            Step::Mint(attempt) => {
                self.post(p, i, names::at(&attempt.at).id);
                return None;
            }
            Step::FindMinted(attempt) => self.find_minted(p, names::at(&attempt.at).id),
            Step::Recover(issued) => {
                let token = names::token(&issued.token_id);
                self.tell(|| {
                    format!(
                        "asks the platform for the value of {}",
                        upstream_name(token)
                    )
                });
                Answer::Recovered(match self.state.lives(token) {
                    true if self.world.masked => Recovery::Withheld,
                    true => Recovery::Value(token),
                    false => Recovery::Gone,
                })
            }
            Step::Store {
                name,
                issued,
                given_up,
                value: _,
                over,
                because: _,
            } => {
                let over = over
                    .as_ref()
                    .map(|version| names::number(&version.resource_version));
                let given_up = names::tokens(given_up);
                self.store(i, number(name), (names::issued(issued), given_up), over)
            }
            Step::Verify { issued, value: _ } => self.verify(names::token(&issued.token_id)),
            Step::Release { name, version } => {
                self.release(number(name), names::number(&version.resource_version))
            }
            Step::Remove { name, version } => {
                self.remove(number(name), names::number(&version.resource_version))
            }
            Step::Revoke {
                token_id,
                base_url: _,
                with,
            } => self.revoke(i, names::token(token_id), with),
            Step::LiftFinalizer => match self.patch_token(p, i) {
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
            },
        })
    }

    fn read_secret(&mut self, p: usize, i: usize, name: usize) -> Answer {
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
        let mut written = render(owner, &name.to_string(), &issued, &given_up, value);
        written.metadata.uid = Some("uid".into());
        written.metadata.resource_version = Some(secret.version.to_string());
        if !secret.held {
            written.metadata.finalizers = None;
        }
        if secret.deleting {
            written.metadata.deletion_timestamp = Some(Time(names.past));
        }
        let known = known.map(|token| names.hash(token));
        secret_back(&read(&written, &names.owners[i], known))
    }

    fn look(&mut self, p: usize, i: usize) -> Answer {
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

    fn open(&mut self, p: usize, i: usize, number: u32, given_up: Vec<u8>) -> Answer {
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

    fn post(&mut self, p: usize, i: usize, attempt: u8) {
        self.tell(|| format!("sends the POST of the attempt of {}", token_name(i)));
        if self.state.sent.contains(&attempt) {
            self.broken = Some(Claim::OnePost);
        }
        let held = self.state.tokens[i]
            .as_ref()
            .is_some_and(|token| token.held);
        if !held {
            self.broken = Some(Claim::HeldBeforePost);
        }
        self.state.sent.push(attempt);
        self.state.posts.push(Post {
            attempt,
            sender: Some(p as u8),
            age: 0,
        });
    }

    /// The platform makes a token for a POST.
    pub(crate) fn make(&mut self, attempt: u8) -> u8 {
        let group = attempt / GROUP;
        let next = &mut self.state.next.upstream[usize::from(group)];
        let token = group * GROUP + *next;
        *next += 1;
        self.state.upstream.push(Upstream {
            token,
            attempt: Some(attempt),
            live: true,
            used: false,
            settled: false,
        });
        self.state.upstream.sort_by_key(|up| up.token);
        token
    }

    fn find_minted(&mut self, p: usize, attempt: u8) -> Answer {
        if self.world.without == Some(Guard::Search) {
            self.tell(|| "does not look for what the attempt made".into());
            return Answer::NoneMinted;
        }
        if self.world.dialect == Dialect::Documented {
            return self.find_suspects(p, attempt);
        }
        let rows = self.state.upstream.iter().rev();
        let of = rows.filter(|up| up.live && up.attempt == Some(attempt));
        let mut own: Vec<u8> = of.map(|up| up.token).collect();
        self.tell(|| format!("looks for what the attempt made: {}", listed(&own)));
        if own.is_empty() {
            return Answer::NoneMinted;
        }
        if self.world.masked {
            own.sort_unstable();
            return Answer::MintedWithheld(own);
        }
        let kept = own.remove(0);
        own.sort_unstable();
        Answer::Found { kept, others: own }
    }

    /// Of this PlatformToken's, only those that were surely made since the attempt was opened.
    fn find_suspects(&mut self, p: usize, attempt: u8) -> Answer {
        let named = self.named(p);
        let may_be = |up: &&Upstream| {
            let since = up
                .attempt
                .is_some_and(|made| made / GROUP == attempt / GROUP && made >= attempt);
            up.live && !up.used && since && !named.contains(&up.token)
        };
        let found: Vec<u8> = self
            .state
            .upstream
            .iter()
            .filter(may_be)
            .map(|up| up.token)
            .collect();
        self.tell(|| {
            format!(
                "writes down what the attempt may have made: {}",
                listed(&found)
            )
        });
        for token in &found {
            if !self.state.suspects.contains(token) {
                self.state.suspects.push(*token);
            }
        }
        Answer::Suspects(found)
    }

    /// The tokens that PlatformTokens and Secrets name, as the caches of a process know them.
    pub(crate) fn named(&self, p: usize) -> Vec<u8> {
        let tokens = self.cached_tokens(p).iter().flatten();
        let by_status = tokens.filter_map(|token| token.status.issued.map(|issued| issued.token));
        let by_secret = self
            .cached_secrets(p)
            .into_iter()
            .flatten()
            .map(|indexed| indexed.token);
        by_status.chain(by_secret).collect()
    }

    fn store(
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

    fn verify(&mut self, token: u8) -> Answer {
        let lives = self.state.lives(token);
        if self.world.without == Some(Guard::Verify) {
            return Answer::Verified;
        }
        self.tell(|| {
            format!(
                "proves {}: it {}",
                upstream_name(token),
                if lives { "answers" } else { "is refused" }
            )
        });
        if !lives {
            return Answer::Failed(Reason::VerificationFailed);
        }
        for up in &mut self.state.upstream {
            up.used |= up.token == token;
        }
        Answer::Verified
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

    fn remove(&mut self, name: usize, read: u8) -> Answer {
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

    fn revoke(&mut self, i: usize, token: u8, with: &RevokeWith) -> Answer {
        let lived = self.state.lives(token);
        if self.world.without == Some(Guard::RevokeFirst) {
            return Answer::Revoked;
        }
        if let RevokeWith::AccountIfOurs { hash, .. } = with {
            let tagged = self.world.dialect == Dialect::Current && usize::from(token / GROUP) == i;
            let bound = !self.world.masked && hash.as_ref() == Some(self.rules.names.hash(token));
            if !lived {
                self.tell(|| {
                    format!(
                        "is to revoke {}, which is not listed any more",
                        upstream_name(token)
                    )
                });
                return Answer::NotListed;
            }
            if !tagged && !bound {
                self.tell(|| {
                    format!(
                        "leaves {} alone, which nothing proves to be its",
                        upstream_name(token)
                    )
                });
                return Answer::NotOurs;
            }
        }
        self.tell(|| {
            let with = match with {
                RevokeWith::ItsValue(_) => "with its own value",
                RevokeWith::Account | RevokeWith::AccountIfOurs { .. } => "through the account",
            };
            let told = if lived {
                "done"
            } else {
                "it is not known any more"
            };
            format!("revokes {} {with}: {told}", upstream_name(token))
        });
        if token / GROUP == STRANGERS {
            self.broken = Some(Claim::NoStranger);
        }
        let others = self.state.secrets.iter().flatten().any(|secret| {
            let owner = usize::from(secret.owner);
            let lives = self.state.tokens[owner]
                .as_ref()
                .is_some_and(|token| !token.deleting);
            owner != i && lives && secret.issued.token == token
        });
        if others {
            self.broken = Some(Claim::NoStranger);
        }
        for up in &mut self.state.upstream {
            up.live &= up.token != token;
        }
        match with {
            RevokeWith::ItsValue(_) if !lived => Answer::SelfUnknown,
            _ => Answer::Revoked,
        }
    }

    fn secret_version(&mut self, name: usize) -> u8 {
        let next = &mut self.state.next.secret_version[name];
        *next += 1;
        *next - 1
    }
}

impl Denied {
    fn stale_or(self, reason: Reason) -> Answer {
        match self {
            Self::Conflict => Answer::Stale,
            Self::Missing => Answer::Failed(reason),
        }
    }
}

fn number(name: &str) -> usize {
    names::number(name).into()
}

/// How the story calls a PlatformToken.
pub(crate) fn token_name(i: usize) -> &'static str {
    ["x", "y"][i]
}

/// How the story calls a Secret.
pub(crate) fn secret_name(name: usize) -> &'static str {
    ["x", "y"][name]
}

/// How the story calls an upstream token.
pub(crate) fn upstream_name(token: u8) -> String {
    let no = token % GROUP + 1;
    match token / GROUP {
        0 => format!("token x{no}"),
        1 => format!("token y{no}"),
        _ => format!("the stranger's token {no}"),
    }
}

fn listed(tokens: &[u8]) -> String {
    let names: Vec<String> = tokens.iter().map(|token| upstream_name(*token)).collect();
    if names.is_empty() {
        "none is listed".into()
    } else {
        names.join(", ")
    }
}
