import { type Role, roles } from './access.ts';

/** Where the roles of a user are in what an issuer says of them. */
export interface ClaimedRoles {
  /** Name of the claim, or its path with dots, such as `realm_access.roles`. @default 'roles' */
  readonly roleClaim?: string | undefined;
  /** The role that each value of the claim gives; without it values that are roles give themselves. */
  readonly roles?: Readonly<Record<string, Role>> | undefined;
}

/** Values that give no role are passed over: issuers tell much that is meant for others. */
export function rolesOfClaims(
  claims: Readonly<Record<string, unknown>>,
  { roleClaim = 'roles', roles: given }: ClaimedRoles,
): readonly Role[] {
  const table: Readonly<Record<string, Role>> = given ?? Object.fromEntries(roles.map((role) => [role, role]));
  return valuesOf(claimAt(claims, roleClaim)).flatMap((value) => {
    const role = Object.hasOwn(table, value) ? table[value] : undefined;
    return role ? [role] : [];
  });
}

export function hasClaim(claims: Readonly<Record<string, unknown>>, { roleClaim = 'roles' }: ClaimedRoles): boolean {
  return claimAt(claims, roleClaim) !== undefined;
}

/** A name may have dots itself, as those that are URLs. */
function claimAt(claims: Readonly<Record<string, unknown>>, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path];
  return path.split('.').reduce<unknown>((value, name) => {
    return typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
  }, claims);
}

/** A list, or words as in `scope`. */
function valuesOf(claim: unknown): readonly string[] {
  if (typeof claim === 'string') return claim.split(/[\s,]+/);
  return Array.isArray(claim) ? claim.filter((value) => typeof value === 'string') : [];
}
