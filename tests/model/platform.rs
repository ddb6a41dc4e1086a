//! What steps do on the platform: tokens are made, found, proven and revoked.

use platform_token_operator::api::Dialect;
use platform_token_operator::plan::RevokeWith;

use crate::claims::Claim;
use crate::guards::Guard;
use crate::mind::{Answer, Recovery};
use crate::scene::Scene;
use crate::story::{token_name, upstream_name};
use crate::world::{Entry, GROUP, Post, STRANGERS, Upstream};

impl Scene<'_> {
    pub(crate) fn post(&mut self, p: usize, i: usize, attempt: u8) {
        self.tell(|| format!("sends the POST of the attempt of {}", token_name(i)));
        if self.state.sent.contains(&attempt) {
            self.broken = Some(Claim::OnePost);
        }
        let held = self.state.tokens[i]
            .as_ref()
            .is_some_and(|token| token.held);
        let written = |entry: &Entry| matches!(entry, Entry::Unresolved { attempt: of, .. } if *of == attempt);
        if !held && !self.state.ledger.iter().any(written) {
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
            elsewhere: false,
        });
        self.state.upstream.sort_by_key(|up| up.token);
        token
    }

    pub(crate) fn find_minted(&mut self, p: usize, attempt: u8) -> Answer {
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

    /// The tokens that PlatformTokens, Secrets and the ledger name, as the caches of a process know them.
    pub(crate) fn named(&self, p: usize) -> Vec<u8> {
        let tokens = self.cached_tokens(p).iter().flatten();
        let by_status = tokens.filter_map(|token| token.status.issued.map(|issued| issued.token));
        let by_secret = self
            .cached_secrets(p)
            .into_iter()
            .flatten()
            .map(|indexed| indexed.token);
        let by_ledger = self.state.ledger.iter().filter_map(|entry| match entry {
            Entry::Owed(debt) => Some(debt.token),
            Entry::Unresolved { .. } => None,
        });
        by_status.chain(by_secret).chain(by_ledger).collect()
    }

    pub(crate) fn recover(&mut self, token: u8) -> Answer {
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

    pub(crate) fn verify(&mut self, token: u8) -> Answer {
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
            return Answer::ValueUnknown;
        }
        for up in &mut self.state.upstream {
            up.used |= up.token == token;
        }
        Answer::Verified
    }

    pub(crate) fn revoke(&mut self, i: usize, token: u8, with: &RevokeWith) -> Answer {
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
            let stays = self.state.tokens[owner]
                .as_ref()
                .is_some_and(|token| !token.deleting);
            owner != i && stays && secret.issued.token == token
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
}

fn listed(tokens: &[u8]) -> String {
    let names: Vec<String> = tokens.iter().map(|token| upstream_name(*token)).collect();
    if names.is_empty() {
        "none is listed".into()
    } else {
        names.join(", ")
    }
}
