export { type Access, accessOfMethod, accessOfRoute, type HttpRow, httpAccess, isChange, type Role, roles } from './access.ts';
export { type Authentication, assertAuthentication, isOn, openAuthentication, readAuthentication, type SignIn } from './authentication.ts';
export type { Caller } from './caller.ts';
export { Guard } from './guard.ts';
export { assertCsrf, assertMay, challengeOf, type Identity, isBoundToPlace, may } from './identity.ts';
export { changeApiKeys, createApiKey, keyIdOf, readApiKeys, type StoredKey, writeApiKeys } from './key-file.ts';
export { isInside } from './model-folders.ts';
export { loginPath } from './oidc.ts';
