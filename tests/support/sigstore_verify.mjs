// Reads a JSON document with "trustedRoot", "issuer", "subject" and "cases" (each with "bundle" and "artifact"), and
// prints one line a case: "accepted", or "refused" and why, by the verifier of npm (@sigstore/verify).
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(process.argv[2] + '/');
const { bundleFromJSON } = require('@sigstore/bundle');
const { TrustedRoot } = require('@sigstore/protobuf-specs');
const { Verifier, toSignedEntity, toTrustMaterial } = require('@sigstore/verify');

const input = JSON.parse(readFileSync(0, 'utf8'));
const verifier = new Verifier(toTrustMaterial(TrustedRoot.fromJSON(input.trustedRoot)));
for (const { bundle, artifact } of input.cases) {
  try {
    const entity = toSignedEntity(bundleFromJSON(bundle), Buffer.from(artifact));
    verifier.verify(entity, { subjectAlternativeName: input.subject, extensions: { issuer: input.issuer } });
    console.log('accepted');
  } catch (error) {
    console.log('refused ' + (error.code || '') + ' ' + String((error.cause || error).message).split('\n')[0]);
  }
}
