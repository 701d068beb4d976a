import { signal } from '@preact/signals';
import { type ComponentChild, render } from 'preact';
import { followServer, openLogin } from './api/index.ts';
import { AppContext } from './context.ts';
import { followRoute } from './route.ts';
import { Shell } from './shell.tsx';

const root = document.querySelector('#app');
if (!root) throw new TypeError('the page has no place for the app');

const login = openLogin();
// Before the first call that needs it. A server that has no logins says so too.
await login.read().catch(() => {});
const app = {
  login,
  live: followServer(() => void login.read().catch(() => {})),
  route: followRoute(),
  dialog: signal<ComponentChild>(undefined),
  notice: signal(''),
};
render(
  <AppContext.Provider value={app}>
    <Shell />
  </AppContext.Provider>,
  root,
);
