import { useSignal } from '@preact/signals';
import type { NearfarError } from '../core/index.ts';
import { toNearfarError } from './api/index.ts';
import { useApp } from './context.ts';
import { Failure } from './parts/index.ts';

/** Where a login is needed: by an API key, or at the identity provider. */
export function SignIn() {
  const { login } = useApp();
  const ways = login.session.value?.signIn ?? [];
  const key = useSignal('');
  const error = useSignal<NearfarError | undefined>(undefined);
  const submit = async (event: Event) => {
    event.preventDefault();
    error.value = undefined;
    try {
      await login.signIn(key.value);
    } catch (cause) {
      error.value = toNearfarError(cause);
    }
  };
  return (
    <>
      <h1>Log in</h1>
      <section class="narrow">
        <p>This server shows what it serves to those it knows.</p>
        {ways.includes('oidc') && (
          <p>
            <a class="button primary" href="/nearfar/v1/login?next=/ui">
              Log in with your organisation
            </a>
          </p>
        )}
        {ways.includes('api-key') && (
          <form onSubmit={submit}>
            <fieldset>
              <label class="field">
                API key
                <input
                  type="password"
                  autoComplete="current-password"
                  placeholder="nfk_…"
                  required
                  value={key.value}
                  onInput={({ currentTarget }) => {
                    key.value = currentTarget.value;
                  }}
                />
              </label>
              <p class="row">
                <button type="submit" class={ways.includes('oidc') ? '' : 'primary'}>
                  Log in
                </button>
              </p>
            </fieldset>
          </form>
        )}
        {error.value && <Failure error={error.value} />}
      </section>
    </>
  );
}

/** Who is logged in. */
export function Who() {
  const { login } = useApp();
  const { value } = login.session;
  if (value?.name === undefined) return null;
  return (
    <span class="row who">
      <span title={value.roles?.join(', ')}>{value.name}</span>
      <button type="button" class="quiet" onClick={() => void login.signOut()}>
        Log out
      </button>
    </span>
  );
}
