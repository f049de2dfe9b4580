"""Names the metrics of `metrics.json` as all pages do."""

METRIC_TITLES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV (precision)",
    "npv": "NPV",
    "f1": "F1",
    "sensitivity_at_specificity_90": "Sensitivity at 90 % specificity",
    "specificity_at_sensitivity_90": "Specificity at 90 % sensitivity",
    "ppv_at_prevalence": "PPV at the prevalence given",
    "npv_at_prevalence": "NPV at the prevalence given",
    "loss": "Loss",
    "brier": "Brier score",
    "ece": "Calibration error (ECE)",
    "loss_calibrated": "Loss, calibrated",
    "brier_calibrated": "Brier score, calibrated",
    "ece_calibrated": "Calibration error (ECE), calibrated",
    "prevalence": "Prevalence given",
    "threshold": "Threshold",
    "temperature": "Temperature",
}
"""The titles of the metrics, in the order in which tables show them."""
