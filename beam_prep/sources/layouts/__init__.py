"""The layouts of public sets of chest X-rays, as data: how the names of their files and folders tell the patient."""
