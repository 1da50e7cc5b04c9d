package e2e_test

// knownBlame are the cases of TestBlame that are known to fail.
var knownBlame = knownFailure{}
