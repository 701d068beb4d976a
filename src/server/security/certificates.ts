import type { PeerCertificate } from 'node:tls';
import type { Role } from './access.ts';
import { type Identity, withImplied } from './identity.ts';

/** Which client certificates have which roles. */
export interface CertificateRule {
  /** Fields of the subject that must all be so, such as `{ "CN": "trainer", "O": "Example" }`. */
  readonly subject?: Readonly<Record<string, string>> | undefined;
  /** A subject alternative name as OpenSSL writes it, such as `URI:spiffe://example.com/trainer` or `DNS:trainer`. */
  readonly alternativeName?: string | undefined;
  readonly roles: readonly Role[];
}

/** Who has a certificate, by the first rule that fits; undefined where none does. */
export function identityOfCertificate(certificate: PeerCertificate, rules: readonly CertificateRule[]): Identity | undefined {
  const rule = rules.find((candidate) => fits(certificate, candidate));
  if (!rule) return undefined;
  const subject = Object.entries(certificate.subject ?? {}).map(([field, value]) => `${field}=${value}`);
  return { name: `certificate:${subject.join(',') || rule.alternativeName}`, roles: withImplied(rule.roles) };
}

function fits({ subject = {} as PeerCertificate['subject'], subjectaltname = '' }: PeerCertificate, rule: CertificateRule): boolean {
  const fields: Readonly<Record<string, unknown>> = { ...subject };
  const hasFields = Object.entries(rule.subject ?? {}).every(([field, value]) => Object.hasOwn(fields, field) && fields[field] === value);
  return hasFields && (rule.alternativeName === undefined || subjectaltname.split(', ').includes(rule.alternativeName));
}
