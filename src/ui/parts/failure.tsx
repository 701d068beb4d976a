import type { NearfarError } from '../../core/index.ts';

/** An error as the server told it: its code and its words. */
export function Failure({ error, retry }: { readonly error: NearfarError; readonly retry?: (() => void) | undefined }) {
  return (
    <div class="failure" role="alert">
      <p>
        <code>{error.code}</code> {error.message}
      </p>
      {error.code === 'permission-denied' && (
        <p class="soft">
          Nothing was changed. Open this page on the server itself (loopback), or at the address that <code>--admin_address</code> opens.
        </p>
      )}
      {retry && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}
