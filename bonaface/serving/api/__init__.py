"""The REST service: verification, enrolment and search over HTTP."""
