import * as nearfar from 'nearfar';
import * as reporter from 'nearfar/reporter';

declare global {
  interface Window {
    nearfar: typeof nearfar;
    reporter: typeof reporter;
  }
}

Object.assign(window, { nearfar, reporter });
document.documentElement.dataset['ready'] = 'true';
